//! The sha256 of files, read in pieces.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use cellmill_core::ids::hex;
use sha2::{Digest as _, Sha256};

/// A file's bytes at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) bytes: u64,
    /// Lower-case hex.
    pub(super) sha256: String,
}

/// Reads a file from begin to end, in constant memory.
pub(super) fn fingerprint(path: &Path) -> io::Result<Fingerprint> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut piece = vec![0; 128 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => {
                hash.update(&piece[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Fingerprint {
        bytes,
        sha256: hex(&hash.finalize()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_longer_than_a_piece_hashes_as_a_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content = vec![7; 300_000];
        std::fs::write(file.path(), &content).unwrap();
        let found = fingerprint(file.path()).unwrap();
        assert_eq!(found.bytes, 300_000);
        assert_eq!(found.sha256, cellmill_core::ids::sha256_hex(&content));
    }
}
