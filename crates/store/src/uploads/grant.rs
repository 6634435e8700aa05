//! What a signed upload is bound to.

use std::fmt::{Display, Formatter};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cellmill_core::ids::UlidText;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A sha256 as 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Hex(String);

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sha256 is 64 hex digits")]
pub struct NotSha256;

impl Sha256Hex {
    /// Checks the form; capitals are taken and made small.
    ///
    /// ```
    /// use cellmill_store::uploads::Sha256Hex;
    /// assert!(Sha256Hex::parse(&"0aF".repeat(21)).is_err()); // 63 digits
    /// assert_eq!(Sha256Hex::parse(&"0aFf".repeat(16)).unwrap().as_str(), "0aff".repeat(16));
    /// ```
    pub fn parse(text: &str) -> Result<Self, NotSha256> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(NotSha256)
        }
    }

    /// The hash that a hasher has come to.
    pub fn of(hasher: Sha256) -> Self {
        Self(cellmill_core::ids::hex(&hasher.finalize()))
    }

    /// As S3 writes checksums.
    pub fn to_base64(&self) -> String {
        let bytes: Vec<u8> = (0..self.0.len())
            .step_by(2)
            .filter_map(|at| u8::from_str_radix(&self.0[at..at + 2], 16).ok())
            .collect();
        BASE64_STANDARD.encode(bytes)
    }

    /// From what [`to_base64`](Self::to_base64) wrote.
    pub fn from_base64(text: &str) -> Result<Self, NotSha256> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| NotSha256)?;
        Self::parse(&cellmill_core::ids::hex(&bytes))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Sha256Hex {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = NotSha256;

    fn try_from(text: String) -> Result<Self, NotSha256> {
        Self::parse(&text)
    }
}

impl From<Sha256Hex> for String {
    fn from(hash: Sha256Hex) -> Self {
        hash.0
    }
}

/// What the holder of a signed upload may do. Whoever signs it has checked that the key is one for uploads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadGrant {
    /// The key under which the object will be.
    pub key: String,
    /// Its exact length in bytes.
    pub size: u64,
    /// The hash of its content.
    pub sha256: Sha256Hex,
    /// The content type that the request must carry.
    pub content_type: String,
    /// From then on the grant is worth nothing.
    pub expires: DateTime<Utc>,
    /// Whether an object that is there stays.
    pub create_only: bool,
}

/// What the holder of a signed part may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartGrant {
    /// The session that the part belongs to.
    pub upload: UlidText,
    /// The key under which the whole will be, for words to people.
    pub key: String,
    /// Which part, from 1.
    pub number: u32,
    /// Its exact length in bytes.
    pub size: u64,
    /// The hash of its content.
    pub sha256: Sha256Hex,
    /// From then on the grant is worth nothing.
    pub expires: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_as_s3_does_and_comes_back() {
        let hash = Sha256Hex::of(Sha256::new());
        let base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(hash.to_base64(), base64);
        assert_eq!(Sha256Hex::from_base64(base64), Ok(hash));
        // A composite checksum of S3 is no sha256.
        for bad in ["", "x", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-2"] {
            assert!(Sha256Hex::from_base64(bad).is_err(), "{bad}");
        }
    }
}
