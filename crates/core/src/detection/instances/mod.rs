//! Instance segmentation: two label images of one picture, each pixel with the id of its cell, 0 where there is none.

mod masks;
mod overlap;
mod score;

pub use masks::{MaskFound, MaskScene, MaskTruth, mask_average_precision};
pub use overlap::{Instance, Overlap, Shared, SizesDiffer};
pub use score::{ImageFigures, MeanFigures, N_STEPS};
