//! Signed reads: where a bucket hands out bytes itself.

use std::time::Duration;

use async_trait::async_trait;

use crate::Error;

/// What somebody may read, and how it is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The object.
    pub key: String,
    /// What the answer says that it is.
    pub content_type: String,
    /// Whether a browser is to save it rather than show it.
    pub is_attachment: bool,
    /// How long the address is good.
    pub ttl: Duration,
}

/// Signs reads, so that bytes do not go through the api.
#[async_trait]
pub trait SignDownloads: Send + Sync + std::fmt::Debug {
    /// The address to GET, without any header of the request that led here. The caller has checked that whoever
    /// asks may read the object, and that it is there.
    async fn sign(&self, download: &Download) -> Result<String, Error>;
}
