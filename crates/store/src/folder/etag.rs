//! Two kinds of ETag: the hash of the content for what is swapped, a cheap one for what is only read.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use object_store::PutPayload;
use sha2::{Digest as _, Sha256};

/// Largest document. A larger file that is named like one (a `predict2.json` of millions of rows) is
/// treated as bytes: hashing it at every look would cost seconds.
pub(super) const MAX_DOCUMENT: u64 = 256 << 20;

/// Whether a key names a document by its ending.
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "our own keys end in small letters, and a person's `PHOTO.JSON` is no document"
)]
pub(super) fn names_document(key: &str) -> bool {
    key.ends_with(".json") || key.ends_with(".label")
}

/// Whether the object is one: named and small enough.
pub(super) fn is_document(key: &str, size: u64) -> bool {
    names_document(key) && size <= MAX_DOCUMENT
}

/// The ETag of a file that is not a document: size, modification time in nanoseconds, inode.
pub(super) fn of_stat(metadata: &Metadata) -> String {
    let nanoseconds =
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!(
        "\"{:x}-{nanoseconds:x}-{:x}\"",
        metadata.len(),
        metadata.ino()
    )
}

/// The ETag of a document with this content.
pub(super) fn of_payload(payload: &PutPayload) -> String {
    let mut hasher = Sha256::new();
    for bytes in payload {
        hasher.update(bytes);
    }
    quoted(hasher)
}

/// The ETag of a document with this content.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    quoted(hasher)
}

/// The ETag of a document with the content of this file, read from its start.
pub(super) fn of_file(file: &mut File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(quoted(hasher)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The first 128 bits: enough against accidents, and nobody gains from a forged swap of their own document.
fn quoted(hasher: Sha256) -> String {
    let digest = hasher.finalize();
    format!("\"{}\"", cellmill_core::ids::hex(&digest[..16]))
}
