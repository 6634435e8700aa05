//! What the formats decoded by the `image` crate have in common.

use image::error::{ImageError, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder};

use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::{Channels, Samples, buffer};
use crate::sniff::Format;

/// The samples of the first frame.
pub(super) fn samples(header: &Header, mut decoder: impl ImageDecoder) -> Result<Samples, Refusal> {
    let format = header.format;
    if decoder.dimensions() != (header.stored_width, header.stored_height) {
        return Err(Refusal::damaged(
            format,
            "its headers disagree about its size",
        ));
    }
    let channels = match decoder.color_type() {
        ColorType::L8 => Channels::Gray,
        ColorType::La8 => Channels::GrayAlpha,
        ColorType::Rgb8 => Channels::Rgb,
        ColorType::Rgba8 => Channels::Rgba,
        other => return Err(Refusal::unsupported(format, format!("{other:?}"))),
    };
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(header.decode_cost.saturating_mul(2).max(MIN_ALLOCATION));
    decoder
        .set_limits(limits)
        .map_err(|error| refuse(format, error))?;
    let mut data = buffer(format, decoder.total_bytes())?;
    decoder
        .read_image(&mut data)
        .map_err(|error| refuse(format, error))?;
    debug_assert_eq!(data.len() as u64, header.pixels() * channels.count() as u64);
    Ok(Samples::eight(channels, data))
}

/// What a decoder may allocate for tables and windows, however small the picture.
const MIN_ALLOCATION: u64 = 8 << 20;

pub(super) fn refuse(format: Format, error: ImageError) -> Refusal {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Refusal::Truncated {
                format,
                what: "rows of pixels are missing",
            }
        }
        ImageError::Unsupported(error) => match error.kind() {
            UnsupportedErrorKind::GenericFeature(what) => {
                Refusal::unsupported(format, format!("using {what}"))
            }
            _ => Refusal::unsupported(format, "of an unusual kind"),
        },
        other => Refusal::damaged(format, other),
    }
}
