//! Earlier versions of objects, where a bucket keeps them: what is deleted there is only hidden.

use async_trait::async_trait;

use crate::Error;

/// Removes what a versioned bucket keeps of objects that were deleted or replaced.
#[async_trait]
pub trait PurgeVersions: Send + Sync + std::fmt::Debug {
    /// Removes the earlier versions of every object below a prefix whose key `is_meant`, and the markers of deleted
    /// ones. What is there now stays. Answers with how many there were; a bucket without versions has none.
    async fn purge(
        &self,
        prefix: &str,
        is_meant: &(dyn for<'k> Fn(&'k str) -> bool + Send + Sync),
    ) -> Result<u64, Error>;
}
