//! Everything that can end a command, by what the caller does about it.

use std::io;
use std::path::PathBuf;

use crate::client;

use super::Exit;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be asked, or said no. The text is the client's own.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// A file or folder of this machine: `action` is a verb, such as `read`.
    #[error("cannot {action} `{}`", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file of this machine holds what it should not.
    #[error("`{}` is malformed", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The command was given something that it cannot work with.
    #[error("{what}")]
    Usage { what: String, hint: Option<String> },
    /// A part of the program below the command line gave up.
    #[error("cannot {action}")]
    Inner {
        action: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

/// What is wrong with a file, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Fault {
    what: String,
    hint: String,
}

impl Error {
    /// A file that breaks a rule.
    pub(crate) fn malformed(
        path: impl Into<PathBuf>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            path: path.into(),
            source: Box::new(Fault {
                what: what.into(),
                hint: hint.into(),
            }),
        }
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::Usage {
            what: what.into(),
            hint: None,
        }
    }

    pub(crate) fn inner<E>(action: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let action = action.into();
        move |source| Self::Inner {
            action,
            source: source.into(),
        }
    }

    /// The exit code that this error ends the program with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => match error {
                client::Error::NotReachable { .. } => Exit::NotReachable,
                client::Error::Refused { .. } => Exit::Refused,
                client::Error::Url { .. } | client::Error::Unsigned(_) => Exit::Usage,
                client::Error::Broken { .. } | client::Error::Answer { .. } => Exit::Failed,
            },
            Self::Usage { .. } => Exit::Usage,
            Self::File { .. } | Self::Malformed { .. } | Self::Inner { .. } | Self::Output(_) => {
                Exit::Failed
            }
        }
    }

    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Usage { hint, .. } => hint.clone(),
            Self::Malformed { source, .. } => {
                source.downcast_ref::<Fault>().map(|it| it.hint.clone())
            }
            _ => None,
        }
    }

    /// Did the reader of our output go away, as `head` does? That is no failure.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}
