//! Signed uploads: who holds a grant may store exactly these bytes under exactly this key, until it expires.
//!
//! A home that takes uploads itself (standalone) signs grants with [`Signer`] and takes the bytes with [`receive`].
//! A bucket does both on its own; then [`SignUploads`] is a presigner and nothing else here is used.

mod grant;
mod receive;
mod signer;

pub use grant::{Sha256Hex, UploadGrant};
pub use receive::{Received, receive};
pub use signer::{ApiUploads, SignUploads, SignedUpload, Signer};

use crate::Error;

/// Why an upload was not taken. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadRefusal {
    /// The token is no token.
    #[error("upload token is malformed")]
    Malformed,
    /// The token was not signed here, or changed on the way.
    #[error("upload token has a wrong signature")]
    BadSignature,
    /// The token was good once.
    #[error("upload token of `{key}` expired at {expired}")]
    Expired {
        /// What it was for.
        key: String,
        /// Since when it is no good.
        expired: chrono::DateTime<chrono::Utc>,
    },
    /// More bytes came than were granted.
    #[error("upload of `{key}` is longer than the granted {granted} bytes")]
    TooLong {
        /// The object.
        key: String,
        /// The granted size.
        granted: u64,
    },
    /// Fewer bytes came than were granted.
    #[error("upload of `{key}` is {received} bytes long, granted were {granted}")]
    TooShort {
        /// The object.
        key: String,
        /// The granted size.
        granted: u64,
        /// What came.
        received: u64,
    },
    /// Other bytes came than were granted.
    #[error("upload of `{key}` has sha256 {received}, granted was {granted}")]
    OtherContent {
        /// The object.
        key: String,
        /// The granted hash.
        granted: Sha256Hex,
        /// The hash of what came.
        received: Sha256Hex,
    },
    /// The key holds other bytes, and the grant does not allow to replace them.
    #[error("object `{key}` exists already with other content")]
    Exists {
        /// The object.
        key: String,
    },
    /// The sender went away.
    #[error("upload of `{key}` broke off")]
    BrokenOff {
        /// The object.
        key: String,
        /// What the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync + 'static>,
    },
    /// The storage failed.
    #[error("upload of `{key}` cannot be stored")]
    Store {
        /// The object.
        key: String,
        /// What the storage said.
        #[source]
        source: Error,
    },
}
