//! JPEG: our own walk over the markers, zune-jpeg for the pixels.
//!
//! Decoders fill what is missing of a cut file with grey and call it a picture, so
//! the walk decides whether the file is whole: it must reach the end marker.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::bytes::{ByteOrder, Bytes};
use crate::exif::{self, Orientation};
use crate::formats::Inspection;
use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::{Channels, Samples, buffer};
use crate::sniff::Format;

const JPEG: Format = Format::Jpeg;

/// What the markers say.
#[derive(Debug, Default)]
struct Walk {
    frame: Option<Frame>,
    orientation: Option<Orientation>,
    scans: u32,
    is_whole: bool,
}

/// The start-of-frame segment.
#[derive(Clone, Copy, Debug)]
struct Frame {
    marker: u8,
    bits: u8,
    width: u16,
    height: u16,
    components: u8,
    /// Coefficients a pixel over all components, in 1/16.
    sixteenths: u64,
}

impl Frame {
    const fn is_progressive(self) -> bool {
        self.marker == 0xC2
    }

    /// The name of a coding that is not read.
    fn unread(self) -> Option<String> {
        let name = match self.marker {
            0xC0..=0xC2 if self.bits != 8 => return Some(format!("{}-bit", self.bits)),
            0xC0..=0xC2 if !matches!(self.components, 1 | 3 | 4) => {
                return Some(format!("made of {} channels", self.components));
            }
            0xC0..=0xC2 => return None,
            0xC3 | 0xC7 => "lossless coded",
            0xC5 | 0xC6 => "hierarchically coded",
            _ => "arithmetically coded",
        };
        Some(name.to_owned())
    }
}

/// Steps over segments and entropy-coded data from marker to marker.
fn walk(data: &[u8]) -> Walk {
    let bytes = Bytes::new(data, ByteOrder::Big);
    let mut found = Walk::default();
    let mut at = 2;
    while let Some(marker_at) = next_marker(data, at) {
        let marker = data[marker_at];
        at = marker_at + 1;
        if marker == 0xD9 {
            found.is_whole = true;
            break;
        }
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let Some(body) = bytes
            .u16(at)
            .and_then(|len| bytes.slice(at + 2, usize::from(len).checked_sub(2)?))
        else {
            break;
        };
        at += 2 + body.len();
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                found.frame = found.frame.or(frame(marker, body));
            }
            0xE1 if body.starts_with(b"Exif\0\0") => {
                found.orientation = found.orientation.or(Some(exif::orientation(body)));
            }
            0xDA => found.scans += 1,
            _ => {}
        }
    }
    found
}

/// The position of the next marker's code: a byte after 0xFF that is neither stuffing,
/// nor fill. Between segments this also steps over stray bytes, as every decoder does.
fn next_marker(data: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(0xFF, data.get(at..)?)? + 1;
        while *data.get(at)? == 0xFF {
            at += 1;
        }
        if data[at] != 0 {
            return Some(at);
        }
    }
}

fn frame(marker: u8, body: &[u8]) -> Option<Frame> {
    let bytes = Bytes::new(body, ByteOrder::Big);
    let components = bytes.u8(5)?;
    let sampling = (0..usize::from(components)).map_while(|idx| bytes.u8(7 + idx * 3));
    let (mut h_max, mut v_max, mut blocks) = (1, 1, 0);
    for (h, v) in sampling.map(|it| (u64::from(it >> 4), u64::from(it & 15))) {
        (h_max, v_max, blocks) = (h_max.max(h), v_max.max(v), blocks + h * v);
    }
    Some(Frame {
        marker,
        bits: bytes.u8(0)?,
        height: bytes.u16(1)?,
        width: bytes.u16(3)?,
        components,
        sixteenths: (blocks * 16).div_ceil(h_max * v_max),
    })
}

pub(super) fn inspect(data: &[u8]) -> Result<Inspection, Refusal> {
    let found = walk(data);
    let Some(frame) = found.frame else {
        return Err(if found.is_whole {
            Refusal::damaged(JPEG, "it has no frame header")
        } else {
            Refusal::Truncated {
                format: JPEG,
                what: "it has no frame header",
            }
        });
    };
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    // A picture in one scan is decoded row by row; every other keeps 16-bit coefficients of the whole.
    let coefficients = if frame.is_progressive() || found.scans > 1 {
        pixels * frame.sixteenths / 8
    } else {
        0
    };
    let header = Header {
        format: JPEG,
        stored_width: u32::from(frame.width),
        stored_height: u32::from(frame.height),
        orientation: found.orientation.unwrap_or(Orientation::UPRIGHT),
        channels: frame.components,
        bits: frame.bits,
        frames: 1,
        scans: found.scans,
        decode_cost: pixels * 3 + coefficients,
    };
    let fault = if let Some(what) = frame.unread() {
        Some(Refusal::unsupported(JPEG, what))
    } else if !found.is_whole {
        Some(Refusal::Truncated {
            format: JPEG,
            what: "the end marker is missing",
        })
    } else if found.scans == 0 {
        Some(Refusal::damaged(JPEG, "it has no scan"))
    } else {
        None
    };
    Ok(Inspection { header, fault })
}

/// Is the frame inside `data` no larger than this? True where there is none: tables alone.
pub(super) fn is_at_most(data: &[u8], width: u64, height: u64) -> bool {
    let frame = walk(data).frame;
    frame.is_none_or(|it| u64::from(it.width) <= width && u64::from(it.height) <= height)
}

pub(super) fn decode(header: &Header, data: &[u8]) -> Result<Samples, Refusal> {
    let options = DecoderOptions::new_fast()
        .set_strict_mode(true)
        .set_max_width(header.stored_width as usize)
        .set_max_height(header.stored_height as usize)
        .jpeg_set_max_scans(header.scans as usize + 1)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder
        .decode_headers()
        .map_err(|error| Refusal::damaged(JPEG, error))?;
    let mut rgb = buffer(JPEG, header.pixels() * 3)?;
    if decoder.output_buffer_size() != Some(rgb.len()) {
        return Err(Refusal::damaged(
            JPEG,
            "its headers disagree about its size",
        ));
    }
    decoder
        .decode_into(&mut rgb)
        .map_err(|error| Refusal::damaged(JPEG, error))?;
    Ok(Samples::eight(Channels::Rgb, rgb))
}
