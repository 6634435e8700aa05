//! Named arrays of a file, whatever wrote it.

use super::{WeightsError, format};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Larger files are refused unread: VGG-16 with all its layers has 553 MB.
const MAX_BYTES: usize = 1 << 30;
/// The limit on arrays of a file; the networks here have some hundreds.
pub(super) const MAX_ARRAYS: usize = 10_000;
/// The limit on values in all: the arrays of a file may share memory there, and do not here.
pub(super) const MAX_VALUES: usize = 1 << 28;

/// Values with their shape, in `PyTorch`'s order of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Safetensors,
    Torch,
    Keras,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Torch => "PyTorch",
            Self::Keras => "Keras",
        })
    }
}

/// The arrays of a weights file.
#[derive(Clone, Debug)]
pub struct Foreign {
    pub(super) format: Format,
    pub(super) arrays: BTreeMap<String, Array>,
    /// Names of layers in the order of the model, where the file tells it.
    pub(super) order: Vec<String>,
    /// What this crate wrote beside the arrays, if it did.
    pub(super) description: Option<String>,
    fingerprint: String,
}

impl Foreign {
    pub(super) fn new(format: Format, arrays: BTreeMap<String, Array>) -> Self {
        Self {
            format,
            arrays,
            order: Vec::new(),
            description: None,
            fingerprint: String::new(),
        }
    }

    pub const fn format(&self) -> Format {
        self.format
    }

    /// The arrays by their names in the file.
    pub const fn arrays(&self) -> &BTreeMap<String, Array> {
        &self.arrays
    }

    /// SHA-256 of the file in hexadecimal digits: which weights a training began with.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Reads a file of weights; its content says of which format it is. Sizes are checked before memory is asked for,
/// and nothing in a file is ever run.
pub fn read(bytes: &[u8]) -> Result<Foreign, WeightsError> {
    if bytes.len() > MAX_BYTES {
        return Err(WeightsError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_BYTES,
        });
    }
    let mut foreign = match bytes {
        [b'P', b'K', 3, 4, ..] => format::torch(bytes)?,
        [0x89, b'H', b'D', b'F', ..] => format::keras(bytes)?,
        // A pickle without the zip around it.
        [0x80, 2..=5, ..] => return Err(WeightsError::OldTorch),
        [_, _, _, _, _, _, _, _, b'{', ..] => format::safetensors(bytes)?,
        _ => return Err(WeightsError::UnknownFormat),
    };
    let digest = Sha256::digest(bytes);
    for byte in digest {
        // Writing to a text cannot fail.
        let _ = write!(foreign.fingerprint, "{byte:02x}");
    }
    Ok(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_weights_file_is_told_apart() {
        let old = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c];
        assert!(matches!(read(&old), Err(WeightsError::OldTorch)));
        for bytes in [&b""[..], b"GIF89a", b"PK\x05\x06", b"\x89PNG....."] {
            assert!(matches!(read(bytes), Err(WeightsError::UnknownFormat)));
        }
        for bytes in [&b"PK\x03\x04rest"[..], b"\x89HDF\r\n\x1a\n", b"12345678{}"] {
            let error = read(bytes).unwrap_err();
            let wanted = matches!(
                error,
                WeightsError::Malformed { .. } | WeightsError::NotInBuild
            );
            assert!(wanted, "{error}");
        }
    }
}
