//! Locks on documents, between threads and processes.

use std::fs::File;
use std::io;
use std::path::{Path as FsPath, PathBuf};

use sha2::{Digest as _, Sha256};

/// A fixed set, so that the folder does not fill with lock files and none must ever be deleted (deleting
/// one that another process has open would give two owners). With 64, two documents rarely wait for each other.
const COUNT: u8 = 64;

/// The lock files of a root.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
}

/// A held lock. It ends when this is dropped, and with the process, however that ends.
#[derive(Debug)]
pub(super) struct Held {
    _files: [Option<File>; 2],
}

impl Locks {
    /// Makes the lock files, if need be.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let locks = Self { folder };
        for number in 0..COUNT {
            locks.file(number)?;
        }
        Ok(locks)
    }

    /// Waits for the lock of a key. Blocking.
    pub(super) fn lock(&self, key: &str) -> io::Result<Held> {
        Ok(Held {
            _files: [Some(self.locked(number_of(key))?), None],
        })
    }

    /// Waits for the locks of two keys, in one order for everybody, so that nobody waits in a circle. Blocking.
    pub(super) fn lock_both(&self, one: &str, other: &str) -> io::Result<Held> {
        let (one, other) = (number_of(one), number_of(other));
        let first = self.locked(one.min(other))?;
        let second = if one == other {
            None
        } else {
            Some(self.locked(one.max(other))?)
        };
        Ok(Held {
            _files: [Some(first), second],
        })
    }

    /// A lock belongs to an open file, not to a process: every call opens its own, so threads exclude each other too.
    fn locked(&self, number: u8) -> io::Result<File> {
        let file = self.file(number)?;
        file.lock()?;
        Ok(file)
    }

    fn file(&self, number: u8) -> io::Result<File> {
        let path: &FsPath = &self.folder.join(format!("{number:02}"));
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
    }
}

fn number_of(key: &str) -> u8 {
    Sha256::digest(key.as_bytes())[0] % COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys may share a lock file; taking it twice would wait for ever.
    #[test]
    fn two_keys_of_one_lock_file_can_be_locked_together() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::open(folder.path().to_owned()).unwrap();
        let other = (0..10_000)
            .map(|n| format!("key {n}"))
            .find(|key| number_of(key) == number_of("key"))
            .unwrap();
        drop(locks.lock_both("key", &other).unwrap());
        drop(locks.lock("key").unwrap());
    }
}
