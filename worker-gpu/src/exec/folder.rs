//! The folder of one unit: inputs, outputs, checkpoints. It is gone when the unit has ended.

use std::path::{Path, PathBuf};

use cellmill_worker::Failure;
use tempfile::TempDir;

/// A file that is larger is no output of a unit of 2 minutes: 2 GiB.
const MAX_FILE_BYTES: u64 = 2 << 30;

#[derive(Debug)]
pub(super) struct Folder {
    root: TempDir,
}

impl Folder {
    pub(super) fn make() -> Result<Self, Failure> {
        let failed = |error| Failure::temporary("could not make a folder for the program", error);
        let root = tempfile::Builder::new().prefix("cellmill-exec-").tempdir();
        let folder = Self {
            root: root.map_err(failed)?,
        };
        for place in [folder.inputs(), folder.outputs(), folder.checkpoints()] {
            std::fs::create_dir(place).map_err(failed)?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn inputs(&self) -> PathBuf {
        self.path().join("inputs")
    }

    pub(super) fn outputs(&self) -> PathBuf {
        self.path().join("outputs")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.path().join("checkpoints")
    }

    /// A checkpoint that the program named.
    pub(super) fn read_checkpoint(&self, file: &str) -> Result<Vec<u8>, String> {
        if !is_plain(file) {
            let shown: String = file.chars().take(80).collect();
            return Err(format!(
                "`{shown}` is no name of a file: up to 80 letters, digits, `.`, `-`, `_`, and no `.` first"
            ));
        }
        read(&self.checkpoints().join(file))?.ok_or_else(|| {
            format!(
                "there is no file `{file}` in `{}`",
                self.checkpoints().display()
            )
        })
    }

    /// A file that the program left; `None`: it left none of this name.
    pub(super) fn read_output(&self, file: &str) -> Result<Option<Vec<u8>>, String> {
        read(&self.outputs().join(file))
    }

    /// The names of the files that it left right in `outputs`, sorted.
    pub(super) fn output_names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.outputs())? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Names that become part of a key.
fn is_plain(file: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=80).contains(&file.len()) && !file.starts_with('.') && file.bytes().all(is_allowed)
}

/// Reads a plain file. A link is refused: it would name whatever this process may read.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let shown = path.file_name().unwrap_or_default().display();
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(|error| format!("`{shown}` can't be looked at: {error}"))?,
    };
    if !found.is_file() {
        return Err(format!("`{shown}` is no plain file"));
    }
    if found.len() > MAX_FILE_BYTES {
        let size = found.len();
        return Err(format!(
            "`{shown}` has {size} bytes, the limit is {MAX_FILE_BYTES}"
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("`{shown}` can't be read: {error}"))?;
    Ok(Some(bytes))
}
