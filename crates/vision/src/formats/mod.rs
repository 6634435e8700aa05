//! The formats, each with two functions: `inspect` reads the structure without
//! decoding, `decode` gives samples.

mod bmp;
mod gif;
mod inspect;
mod jpeg;
mod png;
mod through_image;
mod tiff;
mod webp;

pub(crate) use inspect::{Inspection, decode, inspect};
