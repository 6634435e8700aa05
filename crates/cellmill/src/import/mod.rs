//! `cellmill import`: a folder in the documented layout, or of class folders, goes to a server; what lies there
//! already is not sent again.

mod class_folders;
mod class_ids;
mod class_labels;
mod command;
mod folder_command;
mod folder_report;
mod hash;
mod listing;
mod parts;
mod plan;
mod progress;
mod report;
mod send;
#[cfg(test)]
mod tests;
mod wait;

pub use command::{ImportArgs, run};
pub(crate) use command::{folder, listed};
pub use listing::{Found, LayoutError, Listing, Skipped, list};
pub use plan::{Filters, Plan, PlannedFile, plan};
pub use report::{Problem, Report};
