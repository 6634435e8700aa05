//! What a home does with the parts of a large file.

use async_trait::async_trait;
use cellmill_core::uploads::UploadSession;
use chrono::{DateTime, Utc};

use super::{Received, Sha256Hex, SignedUpload, UploadRefusal};
use crate::Error;

/// A part that somebody wants to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPart {
    /// From 1.
    pub number: u32,
    /// Its exact length in bytes.
    pub bytes: u64,
    /// Of its content.
    pub sha256: Sha256Hex,
    /// From then on the right to send it is worth nothing.
    pub expires: DateTime<Utc>,
}

/// A part that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// From 1.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
    /// Of its content, where the home tells.
    pub sha256: Option<Sha256Hex>,
    /// What the home calls it.
    pub tag: String,
}

/// Keeps the parts of unfinished uploads. None of it is visible under the object's key before it is assembled.
///
/// Handed a [`UploadSession`], whose document [`Sessions`](super::Sessions) keeps; a home holds no state of its own.
#[async_trait]
pub trait PartUploads: Send + Sync + std::fmt::Debug {
    /// Begins an upload at the storage. What comes back is kept as the session's `storage_id`.
    async fn begin(&self, session: &UploadSession) -> Result<Option<String>, Error>;

    /// Signs the sending of one part: exactly these bytes, as this part of this upload.
    async fn sign_part(
        &self,
        session: &UploadSession,
        part: &WantedPart,
    ) -> Result<SignedUpload, Error>;

    /// The parts that are there, one a number, in their order. `None`: the storage does not know the upload,
    /// so it was assembled, given up or forgotten.
    async fn parts(&self, session: &UploadSession) -> Result<Option<Vec<StoredPart>>, Error>;

    /// Makes the object of all its parts, in constant memory. The caller has checked that they are all there.
    ///
    /// `Ok` promises that the object is visible and, where the home can tell, that it has the session's sha256.
    /// A failure may have cost the parts.
    async fn assemble(
        &self,
        session: &UploadSession,
        parts: &[StoredPart],
    ) -> Result<Received, UploadRefusal>;

    /// Removes the parts. Nothing to remove is success.
    async fn discard(&self, session: &UploadSession) -> Result<(), Error>;
}
