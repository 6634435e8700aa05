//! Weights that other programs trained: read from their files, renamed, and put into a network here.
//!
//! [`read`] tells the format by the content. What a source calls its values, how it orders them and what pictures
//! it wants stands in one file a source, in `names`. `design.md`, part "Weights of others", says which there are.

mod error;
mod export;
mod foreign;
mod format;
mod load;
mod names;

pub use error::WeightsError;
pub use export::export;
pub use foreign::{Array, Foreign, Format, read};
pub use load::{Report, load_below, load_into, load_into_unet};
