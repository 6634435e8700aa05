//! What an error of the file system means for an object store.

use std::io::{Error as IoError, ErrorKind};
use std::path::Path as FsPath;

use object_store::Error;

/// The name that the errors of this store carry.
const STORE: &str = "folder";

/// A failed call on the file of `key`.
#[derive(Debug, thiserror::Error)]
#[error("{what} `{}`", .path)]
struct Failed {
    what: &'static str,
    path: String,
    #[source]
    source: IoError,
}

/// A rule of the folder home that a key breaks.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rule {
    #[error("`{0}` belongs to the store itself")]
    OwnFiles(String),
    #[error("the empty key names no object")]
    EmptyKey,
    #[error("`{0}` is a symbolic link, and links below the root are not followed")]
    Link(String),
    #[error("`{0}` is an object, so no other can lie below it in a folder")]
    BelowObject(String),
    #[error("`{0}` is a folder that may hold other objects")]
    IsFolder(String),
    #[error("name `{name}` is {length} bytes long, the limit of a folder is {limit}")]
    LongName {
        name: String,
        length: usize,
        limit: usize,
    },
    #[error("only documents (`.json`, `.label`, at most {limit} bytes) can be swapped")]
    NotADocument { limit: u64 },
}

impl From<Rule> for Error {
    fn from(rule: Rule) -> Self {
        match &rule {
            Rule::OwnFiles(key) | Rule::Link(key) => Self::PermissionDenied {
                path: key.clone(),
                source: rule.into(),
            },
            Rule::EmptyKey
            | Rule::BelowObject(_)
            | Rule::IsFolder(_)
            | Rule::LongName { .. }
            | Rule::NotADocument { .. } => Self::NotSupported {
                source: rule.into(),
            },
        }
    }
}

/// Turns a failed call (`what`: "open", "write") on `path` into an error about `key`.
pub(super) fn failed<'a>(
    what: &'static str,
    key: &'a str,
    path: &'a FsPath,
) -> impl FnOnce(IoError) -> Error + use<'a> {
    move |source| {
        let kind = source.kind();
        let source = Box::new(Failed {
            what,
            path: path.display().to_string(),
            source,
        });
        let path = key.to_owned();
        match kind {
            // A name under a file that is not a folder is not there either.
            ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotFound { path, source },
            ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Error::PermissionDenied { path, source }
            }
            ErrorKind::InvalidFilename
            | ErrorKind::IsADirectory
            | ErrorKind::CrossesDevices
            | ErrorKind::InvalidInput => Error::NotSupported { source },
            // A full disk, a quota, an I/O error: somebody may help, so it is worth another try.
            _ => Error::Generic {
                store: STORE,
                source,
            },
        }
    }
}

/// Runs blocking work away from the threads that drive tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => Err(Error::Generic {
            store: STORE,
            source: Box::new(join),
        }),
    }
}
