//! The long-running worker: the algorithms that the SDK's loop runs, and how the program wires them.

pub mod algorithms;
mod bench;
mod cells;
mod compute;
mod detector;
pub mod exec;
mod learner;
mod learning;
mod models;
mod network;
mod options;
mod preannotate;
mod protection;
#[cfg(test)]
mod tests;
mod wiring;

pub use bench::Bench;
pub use options::Options;
pub use preannotate::Preannotator;
pub use wiring::{Error, run};
