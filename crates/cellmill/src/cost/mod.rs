//! `cost`: what a lab's images take on AWS and at home, from dated counts and dated prices.
//!
//! A calculation and nothing else: it asks no server.

mod bill;
mod command;
mod counts;
mod estimate;
mod file;
mod plan;
mod prices;
mod table;

pub use command::{CostArgs, run};
