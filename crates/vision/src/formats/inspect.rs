//! The one place that knows all formats.

use crate::formats::{bmp, gif, jpeg, png, tiff, webp};
use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::Samples;
use crate::sniff::Format;

/// What the structure of a file says.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub(crate) header: Header,
    /// Why the file cannot be decoded although its header reads well. Told after the limits,
    /// so that a bomb is refused as one even when it is also cut off.
    pub(crate) fault: Option<Refusal>,
}

pub(crate) fn inspect(format: Format, bytes: &[u8]) -> Result<Inspection, Refusal> {
    match format {
        Format::Jpeg => jpeg::inspect(bytes),
        Format::Png => png::inspect(bytes),
        Format::Tiff => tiff::inspect(bytes),
        Format::Bmp => bmp::inspect(bytes),
        Format::WebP => webp::inspect(bytes),
        Format::Gif => gif::inspect(bytes),
    }
}

/// Decodes what [`inspect`] found sound.
pub(crate) fn decode(header: &Header, bytes: &[u8]) -> Result<Samples, Refusal> {
    match header.format {
        Format::Jpeg => jpeg::decode(header, bytes),
        Format::Png => png::decode(header, bytes),
        Format::Tiff => tiff::decode(header, bytes),
        Format::Bmp => bmp::decode(header, bytes),
        Format::WebP => webp::decode(header, bytes),
        Format::Gif => gif::decode(header, bytes),
    }
}
