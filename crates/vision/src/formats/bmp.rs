//! BMP: sizes from the two headers, the `image` crate for the pixels.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;

use crate::bytes::{ByteOrder, Bytes};
use crate::exif::Orientation;
use crate::formats::{Inspection, through_image};
use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::Samples;
use crate::sniff::Format;

const BMP: Format = Format::Bmp;
const CORE_HEADER_LEN: u32 = 12;
const UNCOMPRESSED: [u32; 3] = [0, 3, 6];

pub(super) fn inspect(data: &[u8]) -> Result<Inspection, Refusal> {
    let bytes = Bytes::new(data, ByteOrder::Little);
    let Some(fields) = fields(bytes) else {
        return Err(Refusal::Truncated {
            format: BMP,
            what: "it has no header",
        });
    };
    let pixels = u64::from(fields.width).saturating_mul(u64::from(fields.height));
    let channels = match fields.bits {
        0..=8 => 1,
        32 => 4,
        _ => 3,
    };
    let header = Header {
        format: BMP,
        stored_width: fields.width,
        stored_height: fields.height,
        orientation: Orientation::UPRIGHT,
        channels,
        bits: 8.min(fields.bits as u8),
        frames: 1,
        scans: 1,
        decode_cost: pixels.saturating_mul(4),
    };
    let row_len = (u64::from(fields.width) * u64::from(fields.bits)).div_ceil(32) * 4;
    let end = row_len
        .saturating_mul(u64::from(fields.height))
        .saturating_add(u64::from(fields.pixels_at));
    let is_cut = UNCOMPRESSED.contains(&fields.compression) && end > data.len() as u64;
    let fault = is_cut.then_some(Refusal::Truncated {
        format: BMP,
        what: "rows of pixels are missing",
    });
    Ok(Inspection { header, fault })
}

struct Fields {
    pixels_at: u32,
    width: u32,
    height: u32,
    bits: u16,
    compression: u32,
}

fn fields(bytes: Bytes<'_>) -> Option<Fields> {
    let pixels_at = bytes.u32(10)?;
    if bytes.u32(14)? == CORE_HEADER_LEN {
        let (width, height) = (bytes.u16(18)?.into(), bytes.u16(20)?.into());
        return Some(Fields {
            pixels_at,
            width,
            height,
            bits: bytes.u16(24)?,
            compression: 0,
        });
    }
    // A negative height says that the top row comes first.
    let height = bytes.u32(22)?.cast_signed().unsigned_abs();
    Some(Fields {
        pixels_at,
        width: bytes.u32(18)?,
        height,
        bits: bytes.u16(28)?,
        compression: bytes.u32(30)?,
    })
}

pub(super) fn decode(header: &Header, data: &[u8]) -> Result<Samples, Refusal> {
    let decoder =
        BmpDecoder::new(Cursor::new(data)).map_err(|error| through_image::refuse(BMP, error))?;
    through_image::samples(header, decoder)
}
