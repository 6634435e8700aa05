//! Training: epoch by epoch, interruptible, resumable to the bit.

mod checkpoint;
mod error;
mod run;

pub use error::TrainError;
pub use run::{EpochReport, StepReport, Trainer};
