//! The sha256 of files and of their parts, read in pieces.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use cellmill_core::ids::hex;
use cellmill_core::uploads::{PART_BYTES, PARTS_ABOVE, part_bytes};
use sha2::{Digest as _, Sha256};

/// A file's bytes at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) bytes: u64,
    /// Lower-case hex.
    pub(super) sha256: String,
    /// Of a file that a server will want in parts, as long as servers usually want them.
    pub(super) parts: Option<PartHashes>,
}

/// What the parts of a file hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartHashes {
    /// The length of each part but the last.
    pub(super) part_bytes: u64,
    /// Lower-case hex, in order.
    pub(super) sha256: Vec<String>,
}

/// Reads a file from begin to end, in constant memory.
pub(super) fn fingerprint(path: &Path) -> io::Result<Fingerprint> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let part_bytes = (length > PARTS_ABOVE).then(|| part_bytes(length, PART_BYTES));
    read(file, part_bytes)
}

/// As [`fingerprint`], with the hashes of parts of a wished length.
pub(super) fn fingerprint_of_parts(path: &Path, part_bytes: u64) -> io::Result<Fingerprint> {
    read(File::open(path)?, Some(part_bytes.max(1)))
}

fn read(mut file: File, part_bytes: Option<u64>) -> io::Result<Fingerprint> {
    let mut whole = Sha256::new();
    let mut parts = part_bytes.map(Parts::of);
    let mut bytes = 0;
    let mut piece = vec![0; 128 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => {
                whole.update(&piece[..n]);
                if let Some(parts) = &mut parts {
                    parts.update(&piece[..n]);
                }
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Fingerprint {
        bytes,
        sha256: hex(&whole.finalize()),
        parts: parts.map(Parts::finish),
    })
}

/// Hashes part after part.
struct Parts {
    done: PartHashes,
    current: Sha256,
    /// Of the current part.
    n_bytes: u64,
}

impl Parts {
    fn of(part_bytes: u64) -> Self {
        Self {
            done: PartHashes {
                part_bytes,
                sha256: Vec::new(),
            },
            current: Sha256::new(),
            n_bytes: 0,
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.done.part_bytes - self.n_bytes;
            let n = room.min(bytes.len() as u64);
            let (head, rest) = bytes.split_at(n as usize);
            self.current.update(head);
            self.n_bytes += n;
            bytes = rest;
            if self.n_bytes == self.done.part_bytes {
                self.end_part();
            }
        }
    }

    fn end_part(&mut self) {
        let hash = std::mem::take(&mut self.current).finalize();
        self.done.sha256.push(hex(&hash));
        self.n_bytes = 0;
    }

    fn finish(mut self) -> PartHashes {
        if self.n_bytes > 0 || self.done.sha256.is_empty() {
            self.end_part();
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::ids::sha256_hex;

    use super::*;

    #[test]
    fn a_file_longer_than_a_piece_hashes_as_a_whole_and_in_parts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..300_000_u32).map(|it| (it / 1000) as u8).collect();
        std::fs::write(file.path(), &content).unwrap();
        let found = fingerprint(file.path()).unwrap();
        assert_eq!((found.bytes, &found.parts), (300_000, &None));
        assert_eq!(found.sha256, sha256_hex(&content));
        for part_bytes in [1000, 99_999, 150_000, 300_000, 400_000] {
            let again = fingerprint_of_parts(file.path(), part_bytes).unwrap();
            assert_eq!(again.sha256, found.sha256);
            let expected: Vec<String> = content
                .chunks(part_bytes as usize)
                .map(sha256_hex)
                .collect();
            assert_eq!(again.parts.unwrap().sha256, expected, "{part_bytes}");
        }
    }

    #[test]
    fn an_empty_file_has_one_empty_part() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let found = fingerprint_of_parts(file.path(), 8).unwrap();
        assert_eq!(found.parts.unwrap().sha256, [sha256_hex(b"")]);
    }
}
