//! Cells in boxes: a detector learned from boxes, and what it finds in fields of any size. Why it is built as it is:
//! `design.md`.

mod assign;
mod boxes;
mod found;
mod loss;
mod model;
mod task;
mod tiles;
mod train;

pub use boxes::{CellBox, drop_doubles};
pub use found::FindOptions;
pub use model::{DetectError, Detector, DetectorSpec};
pub use task::{DetectorTask, LabelledBox};
pub(crate) use tiles::Tile;
pub use tiles::{Region, Tiles};
pub use train::{DetectorTrainer, step_bytes};
