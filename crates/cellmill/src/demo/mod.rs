//! `cellmill demo`: the whole mill once around, through the front door.
//!
//! Photographs go in by signed uploads, as a lab's would; cells are cut, a classifier is trained on some cases and
//! judged by others. Nothing here takes a short cut: the demo is a client of the server that it starts.

mod apart;
mod command;
mod files;
mod pictures;
mod report;
mod stages;

pub use command::{DemoArgs, run};
