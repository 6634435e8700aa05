//! Files that are being written, and how they become objects.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path as FsPath, PathBuf};

use object_store::{PutPayload, Result};

use super::failure::failed;
use super::root::Root;

/// Folders are made when a file meets none for it. Somebody may remove empty ones at the same time, so it is
/// tried a few times; one who removes them faster than that does it on purpose.
const PLACE_ATTEMPTS: u32 = 8;

/// What happens to an object in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    /// It stays: `AlreadyExists`.
    Create,
    /// It is replaced.
    Replace,
}

/// A file under `.cellmill/tmp`, removed again when it is dropped before it became an object.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) file: File,
    path: PathBuf,
    is_published: bool,
}

impl Staged {
    /// A new, empty file. Blocking, as everything here.
    pub(super) fn create(root: &Root, key: &str) -> Result<Self> {
        let path = root.staged_path();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| {
                // A missing staging folder must not read as a missing object.
                failed("stage", key, &path)(io::Error::other(error))
            })?;
        Ok(Self {
            file,
            path,
            is_published: false,
        })
    }

    /// A new file with this content.
    pub(super) fn with_payload(root: &Root, key: &str, payload: &PutPayload) -> Result<Self> {
        let mut staged = Self::create(root, key)?;
        for bytes in payload {
            staged.write(key, bytes)?;
        }
        Ok(staged)
    }

    /// Appends.
    pub(super) fn write(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(failed("write", key, &self.path))
    }

    /// Makes the content durable, if the key asks for it. Called before any lock is taken, as it is the slow part.
    pub(super) fn sync(&self, key: &str) -> Result<()> {
        if is_durable(key) {
            let synced = self.file.sync_all();
            synced.map_err(failed("sync", key, &self.path))?;
        }
        Ok(())
    }

    /// Makes the file the object `key`.
    pub(super) fn publish(
        mut self,
        root: &Root,
        key: &str,
        to: &FsPath,
        how: Publish,
    ) -> Result<()> {
        place(root, key, &self.path, to, how)?;
        self.is_published = how == Publish::Replace;
        sync_folder_of(key, to)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_published {
            // What stays is swept when the root is opened a day later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Gives the file `from` the name of the object `key` in one step. To create is to link: `from` then stays too.
pub(super) fn place(
    root: &Root,
    key: &str,
    from: &FsPath,
    to: &FsPath,
    how: Publish,
) -> Result<()> {
    let mut made = Vec::new();
    for attempt in 1.. {
        let placed = match how {
            Publish::Create => std::fs::hard_link(from, to),
            Publish::Replace => std::fs::rename(from, to),
        };
        match placed {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::NotFound && attempt < PLACE_ATTEMPTS => {
                made = make_folder_of(root, key, to)?;
            }
            Err(error) => return Err(failed("publish", key, to)(error)),
        }
    }
    // Only now, as syncing is slow and an empty folder may be tidied away meanwhile.
    made.iter()
        .try_for_each(|folder| sync_folder_of(key, folder))
}

/// Whether a put of `key` must survive a power cut. What lies under `cache/` can be computed again.
fn is_durable(key: &str) -> bool {
    !key.starts_with("cache/")
}

/// Makes the entry of a new, renamed or deleted file durable, if its key asks for it.
pub(super) fn sync_folder_of(key: &str, file: &FsPath) -> Result<()> {
    if !is_durable(key) {
        return Ok(());
    }
    let folder = file.parent().expect("a file below the root has a folder");
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced {
        // Removed in the meantime, with the file.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(failed("sync", key, folder)),
    }
}

/// Makes the folder of a file and those above it. Gives those that were missing, whose entries are to be synced.
fn make_folder_of(root: &Root, key: &str, file: &FsPath) -> Result<Vec<PathBuf>> {
    let folder = file.parent().expect("a file below the root has a folder");
    let missing = folder
        .ancestors()
        .take_while(|it| *it != root.path && !it.exists())
        .map(FsPath::to_owned)
        .collect();
    match std::fs::create_dir_all(folder) {
        Ok(()) => Ok(missing),
        // One above was tidied away at the same time: the next attempt makes it anew.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(missing),
        Err(error) => Err(failed("make folder", key, folder)(error)),
    }
}
