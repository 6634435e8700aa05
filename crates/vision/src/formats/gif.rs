//! GIF: our own walk over the blocks, the `image` crate for the first frame.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;

use crate::bytes::{ByteOrder, Bytes};
use crate::exif::Orientation;
use crate::formats::{Inspection, through_image};
use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::Samples;
use crate::sniff::Format;

const GIF: Format = Format::Gif;

/// What the blocks say.
struct Walk {
    frames: u32,
    is_whole: bool,
}

pub(super) fn inspect(data: &[u8]) -> Result<Inspection, Refusal> {
    let bytes = Bytes::new(data, ByteOrder::Little);
    let (Some(width), Some(height), Some(flags)) = (bytes.u16(6), bytes.u16(8), bytes.u8(10))
    else {
        return Err(Refusal::Truncated {
            format: GIF,
            what: "it has no screen header",
        });
    };
    // Before the limits: a script that begins like a GIF is no large image but no image.
    let found = walk(bytes, 13 + table_len(flags)).map_err(|cause| Refusal::damaged(GIF, cause))?;
    let pixels = u64::from(width) * u64::from(height);
    let header = Header {
        format: GIF,
        stored_width: u32::from(width),
        stored_height: u32::from(height),
        orientation: Orientation::UPRIGHT,
        channels: 1,
        bits: 8,
        frames: found.frames.max(1),
        scans: 1,
        // The canvas with alpha, and the frame laid on it.
        decode_cost: pixels * 8,
    };
    let fault = if !found.is_whole {
        Some(Refusal::Truncated {
            format: GIF,
            what: "the trailer is missing",
        })
    } else if found.frames == 0 {
        Some(Refusal::damaged(GIF, "it has no frame"))
    } else {
        None
    };
    Ok(Inspection { header, fault })
}

const fn table_len(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Steps over extensions and frames; the error names a block of no known kind.
fn walk(bytes: Bytes<'_>, mut at: usize) -> Result<Walk, String> {
    let mut found = Walk {
        frames: 0,
        is_whole: false,
    };
    while let Some(kind) = bytes.u8(at) {
        at = match kind {
            0x3B => {
                found.is_whole = true;
                break;
            }
            0x21 => at + 2,
            0x2C => {
                let Some(flags) = bytes.u8(at + 9) else { break };
                found.frames += 1;
                at + 11 + table_len(flags)
            }
            other => return Err(format!("block kind {other:#04x} at byte {at} is unknown")),
        };
        let Some(after) = skip_sub_blocks(bytes, at) else {
            break;
        };
        at = after;
    }
    Ok(found)
}

fn skip_sub_blocks(bytes: Bytes<'_>, mut at: usize) -> Option<usize> {
    loop {
        let len = usize::from(bytes.u8(at)?);
        at += 1 + len;
        if len == 0 {
            return Some(at);
        }
    }
}

pub(super) fn decode(header: &Header, data: &[u8]) -> Result<Samples, Refusal> {
    let decoder =
        GifDecoder::new(Cursor::new(data)).map_err(|error| through_image::refuse(GIF, error))?;
    through_image::samples(header, decoder)
}
