//! Cutting cells out of images: data sets of type 0 to 3 (FORMATS A.8, A.9).
//!
//! The outputs are a pure function of the frozen input: the rows of the unit, its packs and, with
//! `parameter_cache` 1, the loose pictures.

mod algorithm;
mod cached;
mod finder;
mod image;
mod packer;
mod plan;
mod rows;
#[cfg(test)]
mod tests;

pub use algorithm::DataAlgorithm;
pub(crate) use finder::Finder;
pub use finder::Found;
pub(crate) use image::{ImageError, ImageReader};
pub use plan::{Cut, by_both, by_detections, by_image, by_points};
