//! `verify`: does a root folder hold what its documents say?
//!
//! Every document is read as its type, and everything that it names is looked for. Nothing is changed, so a server may
//! run meanwhile; what is just being worked on can then show up as a finding that the next run does not repeat.

mod command;
mod dataset;
mod finding;
mod images;
mod jobs;
mod project;
mod walk;

pub use command::{VerifyArgs, run};
pub use finding::{Finding, Weight};
pub use walk::{Verified, verify};
