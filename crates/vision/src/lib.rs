//! Images: bytes in, values out.
//!
//! Sniffing, limits, decoding to upright RGB, crops, packs, thumbnails, the classical
//! cell finder and drawing. No I/O and no async: callers fetch bytes and store results.

pub mod budget;
mod bytes;
pub mod cells;
mod decode;
pub mod draw;
pub mod exif;
pub mod finder;
mod font;
mod formats;
mod header;
mod image;
mod labels;
mod limits;
mod orient;
pub mod pack;
pub mod plot;
mod refusal;
mod samples;
pub mod sniff;
mod thumbnail;

pub use budget::{DecodeBudget, Share};
pub use cells::{CellCutter, OutsideImage, crop, encode_png, png_dimensions, read_source};
pub use decode::{Decoded, decode, decode_within};
pub use finder::{Detection, FinderSettings, find_cells};
pub use header::{Header, Note, header};
pub use image::RgbImage;
pub use labels::{LabelImage, decode_labels, encode_labels};
pub use limits::Limits;
pub use refusal::{Cause, Refusal};
pub use sniff::{Format, sniff};
pub use thumbnail::{THUMBNAIL_SIDE, resize, resize_to_fit, thumbnail};
