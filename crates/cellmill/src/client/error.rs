//! What can go wrong between us and the server.

use cellmill_api::ErrorBody;

use super::storage;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address given is no address.
    #[error("`{url}` is not an address of a server")]
    Url { url: String },
    /// Nobody listens there.
    #[error("no server answers at {url}: is `cellmill up` running?")]
    NotReachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke on the way. The server may or may not have done what was asked.
    #[error("the connection to {url} broke during {call}")]
    Broken {
        url: String,
        call: String,
        #[source]
        source: reqwest::Error,
    },
    /// The server's door asks for a signature, and we have none.
    #[error("the request can't be signed")]
    Unsigned(#[source] cellmill_aws::SignError),
    /// The server said no.
    #[error("{}", body.message)]
    Refused {
        status: u16,
        body: ErrorBody,
        /// How long the server asked us to wait.
        retry_after_s: Option<u64>,
    },
    /// The server said something that this program does not understand.
    #[error("the server's answer to {call} is not understood")]
    Answer {
        call: String,
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// May the same call succeed a little later?
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NotReachable { .. } | Self::Broken { .. } => true,
            Self::Refused { status, body, .. } => {
                matches!(status, 429 | 500 | 502 | 503 | 504) || storage::is_passing(&body.code)
            }
            Self::Url { .. } | Self::Unsigned(_) | Self::Answer { .. } => false,
        }
    }

    /// The HTTP status of a refusal.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What a refusal is called, for programs.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { body, .. } => Some(&body.code),
            _ => None,
        }
    }

    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Url { .. } => Some("give it as `http://127.0.0.1:8750`".to_owned()),
            Self::NotReachable { .. } => {
                Some("start one with `cellmill up`, or name another with --endpoint".to_owned())
            }
            Self::Refused { body, .. } => body.hint.clone(),
            Self::Answer { .. } => {
                Some("is that a server of another version, or another program?".to_owned())
            }
            Self::Broken { .. } | Self::Unsigned(_) => None,
        }
    }
}
