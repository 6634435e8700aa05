//! Listing in the order of the keys, one folder at a time.

use std::io::{self, ErrorKind};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectMeta, Result};

use super::etag;
use super::failure::failed;
use super::read::meta_of;
use super::root::{OWN, Root};

/// The objects below a prefix in the byte order of their keys, read lazily: memory holds the names of the
/// folders on the way to the current object, never the whole tree. Every step may block.
#[derive(Debug)]
pub(super) struct Walk {
    root: Arc<Root>,
    /// Only keys greater than this.
    after: Option<String>,
    stack: Vec<Folder>,
}

/// A folder with what is left of its entries.
#[derive(Debug)]
struct Folder {
    /// Its key with a slash at the end, or nothing for the root.
    prefix: String,
    path: PathBuf,
    /// File names, and folder names with a slash at the end: in this order a folder stands where its keys do
    /// (`a.b` before `a/`).
    rest: std::vec::IntoIter<String>,
}

impl Walk {
    pub(super) fn new(root: Arc<Root>, prefix: &Path, after: Option<String>) -> Result<Self> {
        let mut walk = Self {
            stack: Vec::new(),
            after,
            root,
        };
        if let Some(path) = walk.root.visible_folder(prefix) {
            let prefix = match prefix.as_ref() {
                "" => String::new(),
                text => format!("{text}/"),
            };
            walk.enter(prefix, path)?;
        }
        Ok(walk)
    }

    fn enter(&mut self, prefix: String, path: PathBuf) -> Result<()> {
        match names_in(&path, prefix.is_empty()) {
            Ok(names) => {
                self.stack.push(Folder {
                    prefix,
                    path,
                    rest: names.into_iter(),
                });
                Ok(())
            }
            // Gone since it was listed, or never a folder.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(())
            }
            Err(error) => Err(failed("list", &prefix, &path)(error)),
        }
    }

    /// The next object, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<ObjectMeta>> {
        while let Some(folder) = self.stack.last_mut() {
            let Some(name) = folder.rest.next() else {
                self.stack.pop();
                continue;
            };
            let key = format!("{}{name}", folder.prefix);
            let path = folder.path.join(&name);
            if self
                .after
                .as_deref()
                .is_some_and(|after| is_before(&key, after))
            {
                continue;
            }
            if name.ends_with('/') {
                self.enter(key, path)?;
            } else if let Some(meta) = object(&key, &path)? {
                return Ok(Some(meta));
            }
        }
        Ok(None)
    }

    /// Up to `n` objects; fewer mean the end.
    pub(super) fn take(&mut self, n: usize) -> Result<Vec<ObjectMeta>> {
        let mut batch = Vec::with_capacity(n);
        while batch.len() < n {
            match self.next()? {
                Some(meta) => batch.push(meta),
                None => break,
            }
        }
        Ok(batch)
    }
}

/// The objects directly in a folder, and the prefixes directly below it that hold any.
pub(super) fn level(root: &Arc<Root>, prefix: &Path) -> Result<(Vec<ObjectMeta>, Vec<Path>)> {
    let mut walk = Walk::new(Arc::clone(root), prefix, None)?;
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    let Some(folder) = walk.stack.pop() else {
        return Ok((objects, prefixes));
    };
    for name in folder.rest {
        let key = format!("{}{name}", folder.prefix);
        let path = folder.path.join(&name);
        if !name.ends_with('/') {
            objects.extend(object(&key, &path)?);
        } else if let Ok(below) = Path::parse(&key) {
            // A bucket has no empty folders.
            if Walk::new(Arc::clone(root), &below, None)?.next()?.is_some() {
                prefixes.push(below);
            }
        }
    }
    Ok((objects, prefixes))
}

/// Whether everything named by `key` (a folder's ends in a slash) is at or before `after`.
fn is_before(key: &str, after: &str) -> bool {
    key <= after && !(key.ends_with('/') && after.starts_with(key))
}

/// The names in a folder that can be part of a key, sorted as their keys are.
fn names_in(path: &FsPath, is_root: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A name that is not UTF-8 cannot be a key; `watch` reports it to the person who made it.
        let Ok(mut name) = entry.file_name().into_string() else {
            continue;
        };
        if is_root && name.eq_ignore_ascii_case(OWN) {
            continue;
        }
        if kind.is_dir() {
            name.push('/');
        } else if !kind.is_file() {
            continue;
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

/// A file as an object, `None` when it is gone or its name can be no key.
fn object(key: &str, path: &FsPath) -> Result<Option<ObjectMeta>> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("inspect", key, path)(error)),
    };
    let Ok(location) = Path::parse(key) else {
        return Ok(None);
    };
    let etag = (!etag::is_document(key, metadata.len())).then(|| etag::of_stat(&metadata));
    Ok(Some(meta_of(location, &metadata, etag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_skipped_only_when_the_offset_is_behind_it() {
        assert!(is_before("a/", "b"));
        assert!(is_before("a/", "a0"));
        assert!(!is_before("a/", "a/x"));
        assert!(!is_before("a/", "a.b"));
        assert!(is_before("a", "a"));
        assert!(!is_before("a/", "a/"));
    }
}
