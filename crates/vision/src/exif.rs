//! The one EXIF tag that matters for pixels: which way is up.

use std::fmt;

use crate::bytes::{ByteOrder, Bytes};

/// The EXIF orientation, 1 to 8: how stored pixels are turned to stand upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orientation(u8);

impl Orientation {
    /// Stored as seen.
    pub const UPRIGHT: Self = Self(1);

    /// `None` for values that the standard does not know; readers then take the pixels as stored.
    pub const fn parse(value: u16) -> Option<Self> {
        match value {
            1..=8 => Some(Self(value as u8)),
            _ => None,
        }
    }

    pub const fn value(self) -> u8 {
        self.0
    }

    /// Does turning upright exchange width and height?
    pub const fn swaps_sides(self) -> bool {
        self.0 >= 5
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const ORIENTATION_TAG: u16 = 0x0112;
const SHORT: u16 = 3;

/// The orientation in an EXIF block, which is a small TIFF file; upright when it says nothing.
///
/// A damaged block counts as silent: the picture is worth more than its metadata.
pub(crate) fn orientation(block: &[u8]) -> Orientation {
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    find_orientation(block).unwrap_or(Orientation::UPRIGHT)
}

fn find_orientation(block: &[u8]) -> Option<Orientation> {
    let order = match block.get(..4)? {
        b"II*\0" => ByteOrder::Little,
        b"MM\0*" => ByteOrder::Big,
        _ => return None,
    };
    let block = Bytes::new(block, order);
    let directory = block.u32(4)? as usize;
    let n_entries = usize::from(block.u16(directory)?);
    (0..n_entries)
        .map_while(|idx| directory.checked_add(2 + idx * 12))
        .find(|&at| block.u16(at) == Some(ORIENTATION_TAG) && block.u16(at + 2) == Some(SHORT))
        .and_then(|at| Orientation::parse(block.u16(at + 8)?))
}

#[cfg(test)]
pub(crate) fn block_with(value: u16) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend_from_slice(&value.to_le_bytes());
    block.extend_from_slice(&[0; 6]);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orientation_is_found_and_nonsense_is_upright() {
        assert_eq!(orientation(&block_with(6)).value(), 6);
        assert_eq!(orientation(&block_with(9)), Orientation::UPRIGHT);
        assert_eq!(orientation(&block_with(6)[..12]), Orientation::UPRIGHT);
        assert_eq!(orientation(b"II*\0\xFF\xFF\xFF\xFF"), Orientation::UPRIGHT);
        assert_eq!(orientation(b""), Orientation::UPRIGHT);
    }
}
