//! Reads by signed GET.

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};

use super::bucket::{Bucket, failed, until};
use crate::Error;
use crate::uploads::{Download, SignDownloads};

/// Signs reads of a bucket. Type and disposition are part of the signature, so they are ours and not the sender's.
#[derive(Clone, Debug)]
pub struct S3Downloads {
    pub(super) bucket: Bucket,
}

#[async_trait]
impl SignDownloads for S3Downloads {
    async fn sign(&self, download: &Download) -> Result<String, Error> {
        let key = &download.key;
        let ttl = TimeDelta::from_std(download.ttl).unwrap_or(TimeDelta::MAX);
        let expires = Utc::now().checked_add_signed(ttl);
        let expires = expires.unwrap_or(chrono::DateTime::<Utc>::MAX_UTC);
        let get = self
            .bucket
            .client
            .get_object()
            .bucket(&self.bucket.name)
            .key(key)
            .response_content_type(&download.content_type)
            .set_response_content_disposition(
                download.is_attachment.then(|| "attachment".to_owned()),
            )
            .response_cache_control("private, no-cache")
            .presigned(until(key, expires)?)
            .await
            .map_err(|error| failed(key, error))?;
        Ok(get.uri().to_owned())
    }
}
