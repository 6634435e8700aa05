//! How large an image may be; checked on the header, before anything is decoded.

use crate::header::Header;
use crate::refusal::Refusal;

const MIB: u64 = 1 << 20;
/// A JPEG that is not progressive may still store each of its channels in a scan.
const ORDINARY_SCANS: u32 = 4;

/// Bounds of what is decoded. The defaults are those of the README.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub max_bytes: u64,
    /// Pixels of the longer side.
    pub max_side: u32,
    /// Pixels of the shorter side. The default of 2 refuses lines one pixel wide, which
    /// hold no cell; an image smaller than a crop is taken.
    pub min_side: u32,
    /// Width x height x channels x bytes a sample, at least three bytes a pixel because
    /// pixels are handed out as RGB.
    pub max_decoded_bytes: u64,
    /// Scans x pixels of a JPEG. Every scan of a progressive JPEG visits every block, and a
    /// scan costs the sender a few hundred bytes: a file of 100 KB can buy minutes. A usual
    /// progressive file has about ten scans.
    pub max_scan_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 256 * MIB,
            max_side: 30_000,
            min_side: 2,
            max_decoded_bytes: 512 * MIB,
            max_scan_pixels: 1 << 30,
        }
    }
}

impl Limits {
    /// Checks the length of a file, which may be known before its bytes are.
    ///
    /// # Errors
    /// `empty_file` and `too_large`.
    pub fn check_length(&self, bytes: u64) -> Result<(), Refusal> {
        match bytes {
            0 => Err(Refusal::EmptyFile),
            value if value > self.max_bytes => Err(Refusal::TooLarge {
                what: "file size in bytes",
                value,
                limit: self.max_bytes,
                setting: "max_bytes",
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_header(&self, header: &Header) -> Result<(), Refusal> {
        let (width, height) = (header.stored_width, header.stored_height);
        if width == 0 || height == 0 {
            return Err(Refusal::BadDimensions {
                format: header.format,
                width: u64::from(width),
                height: u64::from(height),
            });
        }
        let longer = width.max(height);
        if longer > self.max_side {
            return Err(Refusal::TooLarge {
                what: "longer side in pixels",
                value: u64::from(longer),
                limit: u64::from(self.max_side),
                setting: "max_side",
            });
        }
        if header.decoded_bytes() > self.max_decoded_bytes {
            return Err(Refusal::TooLarge {
                what: "decoded size in bytes",
                value: header.decoded_bytes(),
                limit: self.max_decoded_bytes,
                setting: "max_decoded_bytes",
            });
        }
        if width.min(height) < self.min_side {
            return Err(Refusal::TooSmall {
                width,
                height,
                limit: self.min_side,
            });
        }
        let scans = u64::from(header.scans);
        let is_multi_scan = header.scans > ORDINARY_SCANS;
        if is_multi_scan && header.pixels().saturating_mul(scans) > self.max_scan_pixels {
            return Err(Refusal::TooSlow {
                scans: header.scans,
                pixels: header.pixels(),
                limit: self.max_scan_pixels,
            });
        }
        Ok(())
    }
}
