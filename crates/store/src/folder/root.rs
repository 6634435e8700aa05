//! The root of a folder home: what makes one, and how keys become paths below it.

use std::fs::File;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::time::{Duration, SystemTime};

use object_store::path::Path;

use super::failure::Rule;
use super::locks::Locks;
use super::mount;

/// The folder of our own files below the root.
pub(super) const OWN: &str = ".cellmill";

/// Longest file name that common file systems take, in bytes.
const MAX_NAME: usize = 255;

/// A staged file that nobody wrote to for so long belongs to a process that is gone.
const STALE: Duration = Duration::from_hours(24);

/// Why a folder cannot be the root.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Locks and renames are not to be trusted there.
    #[error(
        "root `{root}` lies on `{point}`, a file system of type `{kind}`; it must be on a local disk"
    )]
    Network {
        /// The root.
        root: String,
        /// The mount point.
        point: String,
        /// The type in the mount table.
        kind: String,
    },
    /// Something else has the name.
    #[error("root `{root}` is not a folder")]
    NotAFolder {
        /// The root.
        root: String,
    },
    /// The folder cannot be made or written to.
    #[error("root `{root}` is not writable")]
    NotWritable {
        /// The root.
        root: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Create-if-absent needs links.
    #[error("root `{root}` lies on a file system without hard links")]
    NoLinks {
        /// The root.
        root: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// An opened root.
#[derive(Debug)]
pub(super) struct Root {
    /// Canonical.
    pub(super) path: PathBuf,
    pub(super) locks: Locks,
    staging: PathBuf,
}

impl Root {
    /// Opens `root`, making it if it is not there, and sweeps what killed processes left. Blocking.
    pub(super) fn open(root: &FsPath) -> Result<Self, OpenError> {
        let shown = || root.display().to_string();
        let not_writable = |source: io::Error| OpenError::NotWritable {
            root: shown(),
            source,
        };
        if root.metadata().is_ok_and(|it| !it.is_dir()) {
            return Err(OpenError::NotAFolder { root: shown() });
        }
        std::fs::create_dir_all(root).map_err(not_writable)?;
        let path = root.canonicalize().map_err(not_writable)?;
        if let Some(mount) = mount::of_path(&path).filter(mount::Mount::is_network) {
            return Err(OpenError::Network {
                root: shown(),
                point: mount.point.display().to_string(),
                kind: mount.kind,
            });
        }
        let own = path.join(OWN);
        let staging = own.join("tmp");
        std::fs::create_dir_all(&staging).map_err(not_writable)?;
        let locks = Locks::open(own.join("locks")).map_err(not_writable)?;
        let opened = Self {
            path,
            locks,
            staging,
        };
        opened.probe_links(shown)?;
        opened.sweep(SystemTime::now());
        Ok(opened)
    }

    fn probe_links(&self, shown: impl Fn() -> String) -> Result<(), OpenError> {
        let (file, link) = (self.staged_path(), self.staged_path());
        File::create_new(&file).map_err(|source| OpenError::NotWritable {
            root: shown(),
            source,
        })?;
        let linked = std::fs::hard_link(&file, &link);
        let _ = std::fs::remove_file(&link);
        let _ = std::fs::remove_file(&file);
        linked.map_err(|source| OpenError::NoLinks {
            root: shown(),
            source,
        })
    }

    /// Removes staged files that nobody is writing any more. A file that resists is met again at the next start.
    fn sweep(&self, now: SystemTime) {
        let Ok(entries) = std::fs::read_dir(&self.staging) else {
            return;
        };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|it| it.modified());
            let is_stale = modified
                .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > STALE));
            if is_stale {
                let removed = std::fs::remove_file(entry.path());
                tracing::debug!(path = %entry.path().display(), ok = removed.is_ok(), "swept a stale staged file");
            }
        }
    }

    /// A fresh name for a file that is being written.
    pub(super) fn staged_path(&self) -> PathBuf {
        self.staging.join(ulid::Ulid::generate().to_string())
    }

    /// The file of a key, if the key may have one. Says nothing of what is there.
    pub(super) fn file_of(&self, key: &Path) -> object_store::Result<PathBuf> {
        let mut path = self.path.clone();
        if key.is_root() {
            return Err(Rule::EmptyKey.into());
        }
        if is_own(key.as_ref()) {
            return Err(Rule::OwnFiles(key.to_string()).into());
        }
        for part in key.parts() {
            let name = part.as_ref();
            if name.len() > MAX_NAME {
                let rule = Rule::LongName {
                    name: name.to_owned(),
                    length: name.len(),
                    limit: MAX_NAME,
                };
                return Err(rule.into());
            }
            path.push(name);
        }
        Ok(path)
    }

    /// The file of a key for reading: `None` where a link or a missing folder is on the way, or the thing
    /// itself is no regular file. Links made in the very moment of the check are not defended against:
    /// who can make them can read the disk anyway.
    pub(super) fn visible_file(&self, key: &Path) -> object_store::Result<Option<PathBuf>> {
        let file = self.file_of(key)?;
        let is_visible = self.ancestors_below_root(&file).all(is_real_folder)
            && file.symlink_metadata().is_ok_and(|it| it.is_file());
        Ok(is_visible.then_some(file))
    }

    /// The folder of a prefix for listing, `None` where there is none to see.
    pub(super) fn visible_folder(&self, prefix: &Path) -> Option<PathBuf> {
        if prefix.is_root() {
            return Some(self.path.clone());
        }
        let folder = self.file_of(prefix).ok()?;
        let is_visible =
            self.ancestors_below_root(&folder).all(is_real_folder) && is_real_folder(&folder);
        is_visible.then_some(folder)
    }

    /// The file of a key for writing: refuses links, objects where a folder must be, and folders where the object must be.
    pub(super) fn writable_file(&self, key: &Path) -> object_store::Result<PathBuf> {
        let file = self.file_of(key)?;
        for folder in self.ancestors_below_root(&file) {
            match folder.symlink_metadata() {
                Ok(it) if it.is_symlink() => return Err(Rule::Link(self.shown(folder)).into()),
                Ok(it) if !it.is_dir() => return Err(Rule::BelowObject(self.shown(folder)).into()),
                _ => {}
            }
        }
        match file.symlink_metadata() {
            Ok(it) if it.is_symlink() => Err(Rule::Link(key.to_string()).into()),
            Ok(it) if it.is_dir() => Err(Rule::IsFolder(key.to_string()).into()),
            _ => Ok(file),
        }
    }

    /// The folders between the root and a path below it, innermost first.
    fn ancestors_below_root<'a>(&'a self, path: &'a FsPath) -> impl Iterator<Item = &'a FsPath> {
        path.ancestors()
            .skip(1)
            .take_while(|folder| *folder != self.path)
    }

    fn shown(&self, path: &FsPath) -> String {
        let below = path.strip_prefix(&self.path).unwrap_or(path);
        below.display().to_string()
    }
}

/// The key of a file below `root`, or why it can have none.
pub(crate) fn key_of(root: &FsPath, file: &FsPath) -> Result<String, String> {
    let below = file.strip_prefix(root);
    let below = below.map_err(|_| "not below the root".to_owned())?;
    let text = below
        .to_str()
        .ok_or_else(|| "the name is not UTF-8".to_owned())?;
    match Path::parse(text) {
        Ok(key) if key.as_ref() == text && !is_own(text) => Ok(text.to_owned()),
        Ok(_) => Err("the name can be no key".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a key lies in the folder of our own files. Any case: some disks do not tell it apart.
pub(super) fn is_own(key: &str) -> bool {
    let first = key.split('/').next().unwrap_or_default();
    first.eq_ignore_ascii_case(OWN)
}

fn is_real_folder(path: &FsPath) -> bool {
    path.symlink_metadata().is_ok_and(|it| it.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_staged_file_is_swept_at_open_and_a_fresh_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let (stale, fresh) = (root.staged_path(), root.staged_path());
        std::fs::write(&fresh, "").unwrap();
        let file = File::create(&stale).unwrap();
        file.set_modified(SystemTime::now() - STALE - Duration::from_mins(1))
            .unwrap();

        Root::open(folder.path()).unwrap();
        assert!(!stale.exists());
        assert!(fresh.exists());
    }

    #[test]
    fn a_file_is_no_root() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(
            Root::open(&file),
            Err(OpenError::NotAFolder { .. })
        ));
        assert!(matches!(
            Root::open(&file.join("below")),
            Err(OpenError::NotWritable { .. })
        ));
    }
}
