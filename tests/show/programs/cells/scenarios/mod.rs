//! One module a scenario.

mod bench;
mod hostile;
mod import;
mod jobs;
mod kill;
mod many;
mod names;
mod openapi;
mod order;
mod resume;
mod run;

pub(crate) use run::{NAMES, run};
