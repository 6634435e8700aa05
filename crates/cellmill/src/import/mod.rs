//! `cellmill import`: a folder in the documented layout goes to a server; what lies there already is not sent again.

mod command;
mod hash;
mod listing;
mod plan;
mod progress;
mod report;
mod send;
mod wait;

pub use command::{ImportArgs, run};
pub use listing::{Found, LayoutError, Listing, Skipped, list};
pub use plan::{Filters, Plan, PlannedFile, plan};
pub use report::{Problem, Report};
