//! One module a scenario.

mod bugs;
mod cancel;
mod examples;
mod fairness;
mod legacy;
mod many_units;
mod processes;
mod raise;
mod repository_tests;
mod run;
mod schedules;
mod takeover;

pub(crate) use run::{NAMES, run};
