//! Signed uploads: who holds a grant may store exactly these bytes under exactly this key, until it expires.
//!
//! A home that takes uploads itself (standalone) signs grants with [`Signer`] and takes the bytes with [`receive`].
//! A bucket does both on its own; then [`SignUploads`] is a presigner. A large file comes in parts: [`Sessions`]
//! keeps what both ends have to know, and [`PartUploads`] is what a home does with the parts.

mod download;
mod grant;
mod parts;
mod receive;
mod sessions;
mod signer;
mod staged;
mod sweep;
#[cfg(test)]
mod tests;

pub use download::{Download, SignDownloads};
pub use grant::{NotSha256, PartGrant, Sha256Hex, UploadGrant};
pub use parts::{PartUploads, StoredPart, WantedPart};
pub use receive::{Received, receive};
pub use sessions::{NewSession, Sessions};
pub use signer::{ApiUploads, SignUploads, SignedUpload, Signer};
pub use staged::{StagedParts, receive_part};
pub use sweep::{LeftOver, Swept, left_over};

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
    /// Nobody began the upload, or it was given up.
    #[error("there is no upload `{id}`, or it was given up")]
    NoSession {
        /// As asked.
        id: String,
    },
    /// The object was made of its parts; more of them change nothing.
    #[error("upload of `{key}` is complete")]
    Complete {
        /// The object.
        key: String,
    },
    /// The storage threw the parts away, as it does with uploads that nobody ends.
    #[error("the storage has forgotten the upload of `{key}`, begin it again")]
    Forgotten {
        /// The object.
        key: String,
    },
    /// The file has no such part.
    #[error("upload of `{key}` has the parts 1 to {n_parts}, not {number}")]
    NoSuchPart {
        /// The object.
        key: String,
        /// As asked.
        number: u32,
        /// How many there are.
        n_parts: u64,
    },
    /// An object is made of all its parts or not at all.
    #[error("upload of `{key}` lacks {n_missing} of {n_parts} parts, the first is {first}")]
    PartsMissing {
        /// The object.
        key: String,
        /// How many did not come.
        n_missing: u64,
        /// The first of them.
        first: u64,
        /// How many there are.
        n_parts: u64,
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
