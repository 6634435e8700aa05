//! What can go wrong, by what the caller does about it.

use std::error::Error as StdError;

use object_store::Error as ObjectError;

/// A boxed cause.
pub type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is stored under the key.
    #[error("object `{key}` does not exist")]
    NotFound {
        /// The missing object.
        key: String,
    },
    /// Something else is stored under a key that was to be created.
    #[error("object `{key}` exists already")]
    Exists {
        /// The object in the way.
        key: String,
    },
    /// Others changed the document each time before our write arrived. Trying again later helps.
    #[error("document `{key}` changed under each of {attempts} attempts to swap it")]
    Conflict {
        /// The contended document.
        key: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The object is there but is not the document that it should be. Trying again does not help.
    #[error("document `{key}` is malformed")]
    Malformed {
        /// The document.
        key: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The document was written by a later program.
    #[error("document `{key}` has version {found}, this program reads up to {known}")]
    TooNew {
        /// The document.
        key: String,
        /// Its `v`.
        found: u32,
        /// The latest `v` that this program knows.
        known: u32,
    },
    /// A value cannot be written as JSON. Trying again does not help.
    #[error("document `{key}` cannot be written as JSON")]
    Unwritable {
        /// Where it was to go.
        key: String,
        /// What the serializer said.
        #[source]
        source: serde_json::Error,
    },
    /// The storage did not answer, or not with an answer. Trying again helps.
    #[error("storage is unavailable for `{key}`")]
    Unavailable {
        /// The object in question.
        key: String,
        /// What the storage said.
        #[source]
        source: Cause,
    },
    /// The storage does not let us.
    #[error("access to `{key}` is denied")]
    Denied {
        /// The object in question.
        key: String,
        /// What the storage said.
        #[source]
        source: Cause,
    },
    /// The storage cannot do this with this object, now or later.
    #[error("storage refuses the operation on `{key}`")]
    Refused {
        /// The object in question.
        key: String,
        /// What the storage said.
        #[source]
        source: Cause,
    },
    /// The text cannot be a key.
    #[error("`{key}` cannot be a key")]
    BadKey {
        /// The text.
        key: String,
        /// The rule that it breaks.
        #[source]
        source: Cause,
    },
    /// The storage URL or the root cannot be used.
    #[error("storage `{url}` cannot be opened")]
    Open {
        /// The URL or folder as given.
        url: String,
        /// Why not.
        #[source]
        source: Cause,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Unavailable { .. } => true,
            Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Malformed { .. }
            | Self::TooNew { .. }
            | Self::Unwritable { .. }
            | Self::Denied { .. }
            | Self::Refused { .. }
            | Self::BadKey { .. }
            | Self::Open { .. } => false,
        }
    }

    /// An object whose bytes are not what its key promises; trying again does not help.
    pub fn unusable(key: &(impl crate::AsKey + ?Sized), source: impl Into<Cause>) -> Self {
        Self::Refused {
            key: key.as_key().into_owned(),
            source: source.into(),
        }
    }

    /// Whether the object is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// What an error of the storage means for a caller who asked about `key`.
    pub(crate) fn of(key: &str, error: ObjectError) -> Self {
        let key = key.to_owned();
        match error {
            ObjectError::NotFound { .. } => Self::NotFound { key },
            ObjectError::AlreadyExists { .. } => Self::Exists { key },
            // Only conditional writes meet these, and they read back instead of reporting.
            ObjectError::Precondition { .. } | ObjectError::NotModified { .. } => {
                Self::Conflict { key, attempts: 1 }
            }
            ObjectError::PermissionDenied { source, .. }
            | ObjectError::Unauthenticated { source, .. } => Self::Denied { key, source },
            ObjectError::NotSupported { source } => Self::Refused { key, source },
            ObjectError::InvalidPath { source } => Self::BadKey {
                key,
                source: source.into(),
            },
            ObjectError::NotImplemented { .. } | ObjectError::UnknownConfigurationKey { .. } => {
                Self::Refused {
                    key,
                    source: error.into(),
                }
            }
            ObjectError::Generic { source, .. } => Self::Unavailable { key, source },
            other => Self::Unavailable {
                key,
                source: other.into(),
            },
        }
    }
}

/// Whether a failed conditional write says nothing sure about what is stored now: a 412, 409, 404,
/// a timeout, a reset, a 5xx. The document must be read to know.
pub(crate) fn is_no_answer(error: &ObjectError) -> bool {
    !matches!(
        error,
        ObjectError::NotSupported { .. }
            | ObjectError::NotImplemented { .. }
            | ObjectError::InvalidPath { .. }
            | ObjectError::UnknownConfigurationKey { .. }
            | ObjectError::PermissionDenied { .. }
            | ObjectError::Unauthenticated { .. }
    )
}

/// Whether a failed conditional write was refused because of what is stored, so that waiting in line helps.
pub(crate) fn is_contention(error: &ObjectError) -> bool {
    matches!(
        error,
        ObjectError::NotFound { .. }
            | ObjectError::AlreadyExists { .. }
            | ObjectError::Precondition { .. }
            | ObjectError::NotModified { .. }
    )
}
