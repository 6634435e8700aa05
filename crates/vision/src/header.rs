//! What the header of an image says, read without decoding a pixel.

use std::fmt;

use crate::exif::Orientation;
use crate::formats;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::sniff::{Format, sniff};

/// The facts about an image that hold before it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub format: Format,
    /// Pixels as stored, before the orientation is applied.
    pub stored_width: u32,
    pub stored_height: u32,
    pub orientation: Orientation,
    /// Samples a pixel as stored: 1 grey or palette, 2 grey and alpha, 3, 4.
    pub channels: u8,
    /// Bits a sample as stored: 1 to 16, or what an odd file claims.
    pub bits: u8,
    /// Frames of an animation or pages of a TIFF; 1 for a still picture.
    pub frames: u32,
    /// Passes over the picture that decoding takes; 1 but for multi-scan JPEG.
    pub scans: u32,
    /// Bytes that decoding holds at its peak, the finished RGB pixels included.
    pub decode_cost: u64,
}

impl Header {
    /// Width of the upright image, the only one that boxes and records know.
    pub const fn width(&self) -> u32 {
        if self.orientation.swaps_sides() {
            self.stored_height
        } else {
            self.stored_width
        }
    }

    /// Height of the upright image.
    pub const fn height(&self) -> u32 {
        if self.orientation.swaps_sides() {
            self.stored_width
        } else {
            self.stored_height
        }
    }

    pub const fn pixels(&self) -> u64 {
        self.stored_width as u64 * self.stored_height as u64
    }

    /// Width x height x channels x bytes a sample, at least as RGB.
    pub const fn decoded_bytes(&self) -> u64 {
        let stored = self.channels as u64 * self.bits.div_ceil(8) as u64;
        self.pixels()
            .saturating_mul(if stored > 3 { stored } else { 3 })
    }

    /// What a reader of the record should know: so far only about frames and turning.
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = Vec::new();
        if self.frames > 1 {
            notes.push(match self.format {
                Format::Tiff => Note::MultiPage { pages: self.frames },
                _ => Note::Animated {
                    frames: self.frames,
                },
            });
        }
        if self.orientation != Orientation::UPRIGHT {
            notes.push(Note::Turned {
                orientation: self.orientation,
            });
        }
        notes
    }
}

/// Something about the image that was decided for the sender, to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Only the first frame was read.
    Animated { frames: u32 },
    /// Only the first page was read.
    MultiPage { pages: u32 },
    /// The pixels were turned upright as the orientation tag says.
    Turned { orientation: Orientation },
    /// A 16-bit image used only its lowest `bits` bits and was brightened to full range.
    Stretched { bits: u8 },
    /// Transparent parts were laid on white.
    Flattened,
    /// CMYK was converted to RGB without a colour profile.
    FromCmyk,
}

impl Note {
    /// The stable code for records and answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Animated { .. } => "animated",
            Self::MultiPage { .. } => "multi_page",
            Self::Turned { .. } => "turned",
            Self::Stretched { .. } => "stretched",
            Self::Flattened => "flattened",
            Self::FromCmyk => "from_cmyk",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Animated { frames } => write!(f, "first of {frames} frames used"),
            Self::MultiPage { pages } => write!(f, "first of {pages} pages used"),
            Self::Turned { orientation } => {
                write!(f, "turned upright from orientation {orientation}")
            }
            Self::Stretched { bits } => {
                write!(f, "{bits} bits of data in 16 were stretched to full range")
            }
            Self::Flattened => write!(f, "transparent parts were laid on white"),
            Self::FromCmyk => write!(f, "converted from CMYK without a colour profile"),
        }
    }
}

/// Reads the header of an image and checks it against the limits.
///
/// The whole file is needed: a file that ends early is refused here, not after a
/// decode. Nothing larger than a few numbers is allocated.
///
/// # Errors
/// Every [`Refusal`] that can be known without decoding.
pub fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Refusal> {
    limits.check_length(bytes.len() as u64)?;
    let format = sniff(bytes).map_err(|guess| Refusal::UnknownType { guess })?;
    let inspection = formats::inspect(format, bytes)?;
    limits.check_header(&inspection.header)?;
    match inspection.fault {
        Some(fault) => Err(fault),
        None => Ok(inspection.header),
    }
}
