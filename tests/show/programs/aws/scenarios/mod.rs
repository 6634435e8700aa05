//! One module a scenario.

mod faults;
mod lambda;
mod poison;
mod pump;
mod requests;
mod resume;
mod run;
mod samebucket;
mod scaling;
mod upflow;
mod uploads;

pub(crate) use run::{NAMES, run};
