//! One module a scenario.

mod bccd;
mod finder;
mod hostile;
mod nuclei;
mod run;

pub(crate) use run::{NAMES, run};
