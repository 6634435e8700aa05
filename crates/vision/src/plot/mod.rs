//! Charts of a training for people: curves by epoch, and the confusion matrix.
//!
//! On white, in the letters of [`draw`](crate::draw). Only operations that every machine rounds alike are used, so
//! equal numbers give equal pixels.

mod canvas;
mod confusion;
mod curves;

pub use confusion::confusion;
pub use curves::{CurvePoint, curves};
