//! Training: epoch by epoch, interruptible, resumable to the bit.

mod average;
mod checkpoint;
mod error;
mod feed;
mod memory;
mod profile;
mod run;
mod step;

pub(crate) use average::Average;
pub(crate) use checkpoint::Report as SavedReport;
pub use error::TrainError;
pub use profile::{Part as ProfilePart, Profile, TraceEvent};
pub use run::{EpochReport, StepReport, Trainer};
