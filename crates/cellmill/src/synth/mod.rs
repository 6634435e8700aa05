//! Synthetic smear photographs: made from a seed, with the truth about every cell.
//!
//! The same settings give the same bytes on every machine: the random numbers are our own, every picture has
//! its own seed, and pixels are computed with `+ - * /` and square roots only, which IEEE 754 defines exactly
//! (functions such as `sin` or `exp` differ from one system library to the next).

mod canvas;
mod cells;
mod kinds;
mod number;
mod scene;
mod shape;
mod write;

pub use kinds::{CellKind, KINDS, class_file};
pub use scene::{TruthCell, TruthImage};
pub use write::{Made, Spec, picture, write_folder};
