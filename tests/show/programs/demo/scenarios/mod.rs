//! One module a scenario.

mod bccd;
mod cells;
mod cric;
mod kill;
mod odd;
mod odd_data;
mod periodic;
mod run;
mod seed;
mod synth;
mod torch;

pub(crate) use run::{NAMES, run};
