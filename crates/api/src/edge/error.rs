//! The closed list of ways in which a request fails, and what each looks like from outside.

use std::error::Error as StdError;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A boxed cause.
type Cause = Box<dyn StdError + Send + Sync>;

/// Why a request did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be read: bad JSON, a key of no layout, a limit out of range.
    #[error("{message}")]
    Malformed {
        /// What is wrong, with the rule.
        message: String,
    },
    /// Nobody is signed in.
    #[error("this request needs a person who is signed in")]
    NotSignedIn,
    /// Somebody is, but may not do this; or a token is not valid.
    #[error("{message}")]
    Forbidden {
        /// For programs.
        code: &'static str,
        /// The rule.
        message: String,
    },
    /// The thing, or the path, does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// Names the thing.
        what: String,
    },
    /// The path exists, but not for this method.
    #[error("this path does not take the method `{method}`")]
    Method {
        /// As sent.
        method: String,
    },
    /// The body came too slowly.
    #[error("the request's body stopped coming")]
    TooSlow,
    /// What is stored does not allow it.
    #[error("{message}")]
    Conflict {
        /// For programs.
        code: &'static str,
        /// The rule.
        message: String,
    },
    /// The body is larger than allowed.
    #[error("the request's body is too large, the limit is {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The body is of another type than expected.
    #[error("{message}")]
    WrongType {
        /// What is expected.
        message: String,
    },
    /// A range that the object does not have.
    #[error("the range is outside of the object's {size} bytes")]
    Range {
        /// Of the whole object.
        size: u64,
    },
    /// Readable, but a rule of the subject refuses it.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: &'static str,
        /// The rule and the limit.
        message: String,
        /// The next step, if there is one.
        hint: Option<&'static str>,
    },
    /// Storage or queue do not answer at the moment. The same request may succeed later.
    #[error("storage or queue do not answer")]
    Unavailable(#[source] Cause),
    /// Something that should not happen.
    #[error("an internal error")]
    Internal(#[source] Cause),
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// For programs: `not_found`, `malformed`, ...
    pub code: String,
    /// One sentence fragment for a person.
    pub message: String,
    /// The next step, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Error {
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed {
            message: message.into(),
        }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused {
            code,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn internal(source: impl Into<Cause>) -> Self {
        Self::Internal(source.into())
    }

    /// The status, by what the caller does about it.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::NotSignedIn => "not_signed_in",
            Self::NotFound { .. } => "not_found",
            Self::Method { .. } => "method_not_allowed",
            Self::TooSlow => "too_slow",
            Self::Forbidden { code, .. }
            | Self::Conflict { code, .. }
            | Self::Refused { code, .. } => code,
            Self::TooLarge { .. } => "too_large",
            Self::WrongType { .. } => "wrong_type",
            Self::Range { .. } => "bad_range",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// The body. The text of a fault of ours is fixed: the chain goes to the log, under the request's id.
    pub(crate) fn body(&self, request_id: &str) -> ErrorBody {
        let (message, hint) = match self {
            Self::Unavailable(_) => (
                self.to_string(),
                Some(format!("try again; the log has more under `{request_id}`")),
            ),
            Self::Internal(_) => (
                self.to_string(),
                Some(format!("the log has more under `{request_id}`")),
            ),
            Self::Refused { hint, .. } => (self.to_string(), hint.map(str::to_owned)),
            other => (other.to_string(), None),
        };
        ErrorBody {
            code: self.code().to_owned(),
            message,
            hint,
        }
    }
}

impl From<cellmill_store::Error> for Error {
    fn from(error: cellmill_store::Error) -> Self {
        match error {
            cellmill_store::Error::NotFound { key } => Self::not_found(format!("object `{key}`")),
            error if error.is_transient() => Self::Unavailable(error.into()),
            error => Self::Internal(error.into()),
        }
    }
}

impl From<cellmill_queue::Error> for Error {
    fn from(error: cellmill_queue::Error) -> Self {
        if error.is_transient() {
            Self::Unavailable(error.into())
        } else {
            Self::Internal(error.into())
        }
    }
}

/// Carries the error to [`super::finish`], which knows the request's id.
#[derive(Clone, Debug)]
pub(super) struct Failure(pub(super) Arc<Error>);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Failure(Arc::new(self)));
        response
    }
}
