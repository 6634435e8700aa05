//! Cells pixel by pixel: a segmenter learned from masks, in which touching cells are cells of their own. Why it is
//! built as it is: `design.md`.

mod distance;
mod evidence;
mod loss;
mod model;
mod network;
mod prepare;
mod sums;
mod task;
mod train;
mod truth;
mod watershed;

#[cfg(test)]
mod tests;

pub use evidence::{Segmentation, SegmentedCell};
pub use loss::SegmenterLoss;
pub use model::{SegmentError, SegmentOptions, Segmenter, SegmenterSpec};
pub use network::SegmenterNetwork;
pub use prepare::Preparation;
pub use task::SegmenterTask;
pub use train::SegmenterTrainer;
pub use truth::{LabelledCells, LabelsError};
