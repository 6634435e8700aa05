//! PNG: our own walk over the chunks, the png crate for the pixels.

use std::io::Cursor;

use ::png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};

use crate::bytes::{ByteOrder, Bytes};
use crate::exif::{self, Orientation};
use crate::formats::Inspection;
use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::{Channels, Depth, Samples, buffer};
use crate::sniff::Format;

const PNG: Format = Format::Png;
const SIGNATURE_LEN: usize = 8;

pub(super) fn inspect(data: &[u8]) -> Result<Inspection, Refusal> {
    let bytes = Bytes::new(data, ByteOrder::Big);
    if bytes.slice(12, 4).is_some_and(|it| it != b"IHDR") {
        return Err(Refusal::damaged(PNG, "it does not begin with its header"));
    }
    let header_fields = || Some((bytes.u32(16)?, bytes.u32(20)?, bytes.u8(24)?, bytes.u8(25)?));
    let Some((width, height, bits, color)) = header_fields() else {
        return Err(Refusal::Truncated {
            format: PNG,
            what: "it has no header",
        });
    };
    let has_transparency = chunks(bytes).any(|it| &it.kind == b"tRNS");
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    let channels = match color {
        0 => 1 + u8::from(has_transparency),
        2 => 3 + u8::from(has_transparency),
        3 => 1,
        4 => 2,
        _ => 4,
    };
    // What the decoder hands out: palettes become RGB with or without alpha.
    let expanded = u64::from(if color == 3 {
        3 + u8::from(has_transparency)
    } else {
        channels
    });
    let raw = pixels.saturating_mul(expanded * if bits == 16 { 2 } else { 1 });
    let spread = if expanded < 3 {
        pixels.saturating_mul(3)
    } else {
        0
    };
    let header = Header {
        format: PNG,
        stored_width: width,
        stored_height: height,
        orientation: chunks(bytes)
            .find(|it| &it.kind == b"eXIf")
            .and_then(|it| bytes.slice(it.at, it.len))
            .map_or(Orientation::UPRIGHT, exif::orientation),
        channels,
        bits,
        frames: chunks(bytes)
            .find(|it| &it.kind == b"acTL")
            .and_then(|it| bytes.u32(it.at))
            .unwrap_or(1)
            .max(1),
        scans: 1,
        decode_cost: raw.saturating_add(spread),
    };
    let is_whole = chunks(bytes).any(|it| &it.kind == b"IEND");
    let fault = (!is_whole).then_some(Refusal::Truncated {
        format: PNG,
        what: "the end chunk is missing",
    });
    Ok(Inspection { header, fault })
}

#[derive(Debug)]
struct Chunk {
    kind: [u8; 4],
    at: usize,
    len: usize,
}

/// The chunks that lie wholly in the file, up to the end chunk.
fn chunks(bytes: Bytes<'_>) -> impl Iterator<Item = Chunk> {
    let mut at = SIGNATURE_LEN;
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let len = bytes.u32(at)? as usize;
        let kind = bytes.slice(at + 4, 4)?.try_into().ok()?;
        bytes.slice(at, len.checked_add(12)?)?;
        let chunk = Chunk {
            kind,
            at: at + 8,
            len,
        };
        at += len + 12;
        ended = &chunk.kind == b"IEND";
        Some(chunk)
    })
}

pub(super) fn decode(header: &Header, data: &[u8]) -> Result<Samples, Refusal> {
    let mut decoder = Decoder::new(Cursor::new(data));
    decoder.set_transformations(Transformations::EXPAND);
    // Profiles and texts are compressed and can be bombs; neither is used.
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(refuse)?;
    let (color, bits) = reader.output_color_type();
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| Refusal::damaged(PNG, "its size overflows"))?;
    let mut pixels = buffer(PNG, size as u64)?;
    let frame = reader.next_frame(&mut pixels).map_err(refuse)?;
    if (frame.width, frame.height) != (header.stored_width, header.stored_height) {
        return Err(Refusal::damaged(
            PNG,
            "its first frame is smaller than the picture",
        ));
    }
    let channels = match color {
        ColorType::Grayscale => Channels::Gray,
        ColorType::GrayscaleAlpha => Channels::GrayAlpha,
        ColorType::Rgb => Channels::Rgb,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Indexed => return Err(Refusal::damaged(PNG, "its palette was not resolved")),
    };
    let depth = if bits == BitDepth::Sixteen {
        Depth::SixteenBig
    } else {
        Depth::Eight
    };
    Ok(Samples {
        channels,
        depth,
        data: pixels,
    })
}

/// The chunks are all there, so what ends early now is the data inside of them.
fn refuse(error: DecodingError) -> Refusal {
    let ends_early = match &error {
        DecodingError::IoError(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
        // The kinds of this error are private to the crate; a test holds this wording.
        DecodingError::Format(error) => error.to_string().contains("not have enough data"),
        DecodingError::Parameter(_) | DecodingError::LimitsExceeded => false,
    };
    if ends_early {
        Refusal::Truncated {
            format: PNG,
            what: "rows of pixels are missing",
        }
    } else {
        Refusal::damaged(PNG, error)
    }
}
