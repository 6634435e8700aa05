//! `eval`: how good a model is on the server's cells, and how good detections and masks in files are.

mod coco_truth;
mod command;
mod detect;
mod detections;
mod names;
mod segment;
mod shown;
#[cfg(test)]
mod tests;
mod truth;

pub use command::{EvalArgs, run};
pub(crate) use detections::read as read_detections;
pub(crate) use names::Name;
pub(crate) use truth::TruthSet;
