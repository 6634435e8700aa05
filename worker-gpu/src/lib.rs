//! The long-running worker: the algorithms that the SDK's loop runs, and how the program wires them.

pub mod algorithms;
mod options;
mod wiring;

pub use options::Options;
pub use wiring::{Error, run};
