//! Uploads in parts: how a large file is cut, and the session by which both ends find what is there already.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::document::Stamp;
use crate::ids::UlidText;
use crate::impl_document;

/// A larger file is sent in parts: 32 MiB. Over a slow line (1 MiB/s) that is half a minute, which may be lost
/// once; above it a broken connection costs one part instead of the file.
pub const PARTS_ABOVE: u64 = 32 << 20;

/// The length of a part: 8 MiB. S3 takes none below 5 MiB but the last.
pub const PART_BYTES: u64 = 8 << 20;

/// The most parts of one file, which is the limit of S3.
pub const MAX_PARTS: u64 = 10_000;

/// An upload of which nothing moved for so long is given up. A bucket's lifecycle rule for unfinished uploads
/// should say the same.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(7);

/// The length of each part but the last of a file of `size` bytes: `least`, and more, in whole MiB, where the
/// file would have too many parts.
///
/// ```
/// use cellmill_core::uploads::{MAX_PARTS, PART_BYTES, part_bytes};
/// assert_eq!(part_bytes(100 << 20, PART_BYTES), 8 << 20);
/// assert!((1_u64 << 40).div_ceil(part_bytes(1 << 40, PART_BYTES)) <= MAX_PARTS);
/// ```
pub fn part_bytes(size: u64, least: u64) -> u64 {
    let needed = size.div_ceil(MAX_PARTS);
    if needed <= least {
        least.max(1)
    } else {
        needed.next_multiple_of(1 << 20)
    }
}

/// The id of the session for these bytes under this key.
///
/// It is derived, not drawn: whoever sends the same file again, after a crash, from another process or from
/// another desk, asks for the same session and finds the parts that are there, and two who ask at once meet in
/// one document. The whole 128 bits of a ULID are hash, so two files share an id only by a broken sha256.
pub fn session_id(key: &str, size: u64, sha256: &str) -> UlidText {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let hash = Sha256::digest(format!("upload session\n{size}\n{sha256}\n{key}"));
    let number = hash[..16]
        .iter()
        .fold(0_u128, |all, it| all << 8 | u128::from(*it));
    let digit = |at: u32| DIGITS[(number >> (5 * (25 - at)) & 31) as usize] as char;
    let text: String = (0..26).map(digit).collect();
    UlidText::parse(&text).expect("26 digits of a ULID")
}

/// `uploads/<id>.json`: a file that comes in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadSession {
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The key under which the object will be.
    pub key: String,
    /// Its exact length.
    pub bytes: u64,
    /// Of its whole content, lower-case hex.
    pub sha256: String,
    pub content_type: String,
    /// The length of each part but the last.
    pub part_bytes: u64,
    /// Whether an object that is there stays.
    pub create_only: bool,
    pub by: String,
    pub at: DateTime<Utc>,
    /// What the storage calls the upload, where it has a name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_id: Option<String>,
    /// When the object was made of the parts. A session that says so answers once more what it answered then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<DateTime<Utc>>,
}

impl_document!(UploadSession);

impl UploadSession {
    pub fn id(&self) -> UlidText {
        session_id(&self.key, self.bytes, &self.sha256)
    }

    /// How many parts the file has; an empty file has one.
    pub fn n_parts(&self) -> u64 {
        self.bytes.div_ceil(self.part_bytes.max(1)).max(1)
    }

    /// The length of part `number`, counted from 1; `None` when there is no such part.
    pub fn part_length(&self, number: u32) -> Option<u64> {
        let number = u64::from(number);
        let n_parts = self.n_parts();
        if number == 0 || number > n_parts {
            return None;
        }
        Some(if number == n_parts {
            self.bytes - (n_parts - 1) * self.part_bytes
        } else {
            self.part_bytes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(bytes: u64, part_bytes: u64) -> UploadSession {
        UploadSession {
            stamp: Stamp::default(),
            key: "img/b/c/Images/a.tif".to_owned(),
            bytes,
            sha256: "ab".repeat(32),
            content_type: "image/tiff".to_owned(),
            part_bytes,
            create_only: true,
            by: "p".to_owned(),
            at: DateTime::<Utc>::UNIX_EPOCH,
            storage_id: None,
            stored_at: None,
        }
    }

    #[test]
    fn the_parts_are_the_file() {
        for (bytes, part) in [(0, 8), (1, 8), (7, 8), (8, 8), (9, 8), (16, 8), (17, 8)] {
            let it = session(bytes, part);
            let lengths: Vec<u64> = (1..).map_while(|number| it.part_length(number)).collect();
            assert_eq!(lengths.iter().sum::<u64>(), bytes);
            assert_eq!(lengths.len() as u64, it.n_parts());
            assert_eq!(it.part_length(0), None);
        }
    }

    #[test]
    fn a_part_grows_only_when_there_would_be_too_many() {
        let most = PART_BYTES * MAX_PARTS;
        assert_eq!(part_bytes(most, PART_BYTES), PART_BYTES);
        assert_eq!(part_bytes(most + 1, PART_BYTES), PART_BYTES + (1 << 20));
    }

    #[test]
    fn the_same_file_is_the_same_session_and_any_other_is_another() {
        let id = session_id("a", 1, "00");
        assert_eq!(id, session_id("a", 1, "00"));
        for other in [
            session_id("b", 1, "00"),
            session_id("a", 2, "00"),
            session_id("a", 1, "01"),
        ] {
            assert_ne!(id, other);
        }
        assert!(id.as_str() < "8", "a ULID has 128 bits");
    }
}
