//! One module a scenario.

mod bccd;
mod finder;
mod hostile;
mod run;

pub(crate) use run::{NAMES, run};
