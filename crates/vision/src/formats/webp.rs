//! WebP: our own walk over the chunks, the `image` crate for the first frame.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;

use crate::bytes::{ByteOrder, Bytes};
use crate::exif::{self, Orientation};
use crate::formats::{Inspection, through_image};
use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::Samples;
use crate::sniff::Format;

const WEBP: Format = Format::WebP;
const RIFF_HEADER_LEN: usize = 8;
const FIRST_CHUNK: usize = 12;

pub(super) fn inspect(data: &[u8]) -> Result<Inspection, Refusal> {
    let bytes = Bytes::new(data, ByteOrder::Little);
    let Some((width, height)) = size(bytes)? else {
        return Err(Refusal::Truncated {
            format: WEBP,
            what: "it has no header",
        });
    };
    let mut frames = 0;
    let mut orientation = Orientation::UPRIGHT;
    for (kind, body) in chunks(bytes) {
        match kind {
            b"ANMF" => frames += 1,
            b"EXIF" => orientation = exif::orientation(body),
            _ => {}
        }
    }
    let pixels = u64::from(width) * u64::from(height);
    let header = Header {
        format: WEBP,
        stored_width: width,
        stored_height: height,
        orientation,
        channels: 3,
        bits: 8,
        frames: frames.max(1),
        scans: 1,
        // The canvas with alpha, the frame laid on it, and the planes it is coded in.
        decode_cost: pixels * 12,
    };
    let claimed = bytes
        .u32(4)
        .map_or(0, |it| it as usize)
        .saturating_add(RIFF_HEADER_LEN);
    let fault = (claimed > data.len()).then_some(Refusal::Truncated {
        format: WEBP,
        what: "the file is shorter than it says",
    });
    Ok(Inspection { header, fault })
}

/// The canvas size out of the first chunk; `None` where the file ends before it.
fn size(bytes: Bytes<'_>) -> Result<Option<(u32, u32)>, Refusal> {
    let Some(kind) = bytes.slice(FIRST_CHUNK, 4) else {
        return Ok(None);
    };
    let body = FIRST_CHUNK + 8;
    let u24 = |at: usize| Some(u32::from(bytes.u16(at)?) | u32::from(bytes.u8(at + 2)?) << 16);
    Ok(match kind {
        b"VP8X" => u24(body + 4)
            .zip(u24(body + 7))
            .map(|(w, h)| (w + 1, h + 1)),
        b"VP8L" => bytes
            .u32(body + 1)
            .map(|it| ((it & 0x3FFF) + 1, (it >> 14 & 0x3FFF) + 1)),
        b"VP8 " => {
            let side = |at| bytes.u16(at).map(|it| u32::from(it & 0x3FFF));
            side(body + 6).zip(side(body + 8))
        }
        _ => {
            return Err(Refusal::damaged(
                WEBP,
                "its first chunk is of no known kind",
            ));
        }
    })
}

fn chunks(bytes: Bytes<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = FIRST_CHUNK;
    std::iter::from_fn(move || {
        let kind = bytes.slice(at, 4)?;
        let len = bytes.u32(at + 4)? as usize;
        let body = bytes.slice(at + 8, len)?;
        at += 8 + len.next_multiple_of(2);
        Some((kind, body))
    })
}

pub(super) fn decode(header: &Header, data: &[u8]) -> Result<Samples, Refusal> {
    let decoder =
        WebPDecoder::new(Cursor::new(data)).map_err(|error| through_image::refuse(WEBP, error))?;
    through_image::samples(header, decoder)
}
