//! One module a scenario.

mod bccd;
mod cells;
mod cuda;
mod losses;
mod pipeline;
mod preannotate;
mod run;
mod speed;

pub(crate) use run::{NAMES, run};
