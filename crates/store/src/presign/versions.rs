//! Versions of a bucket, by the SDK: the store's own client knows nothing of them.

use async_trait::async_trait;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::bucket::{Bucket, failed};
use crate::Error;
use crate::versions::PurgeVersions;

/// The versions of one bucket. Needs `s3:ListBucketVersions` and `s3:DeleteObjectVersion`, which no role of the
/// template has: only a person removes for good.
#[derive(Clone, Debug)]
pub struct S3Versions {
    bucket: Bucket,
}

impl S3Versions {
    /// Region, credentials and `AWS_ENDPOINT_URL` come from the environment. Sends nothing.
    pub async fn open(bucket: &str) -> Result<Self, Error> {
        let bucket = Bucket::open(bucket).await?;
        Ok(Self { bucket })
    }

    async fn remove(&self, prefix: &str, old: Vec<ObjectIdentifier>) -> Result<(), Error> {
        let objects = Delete::builder().set_objects(Some(old)).quiet(true).build();
        let objects = objects.map_err(|error| Error::unusable(prefix, error))?;
        let answer = self
            .bucket
            .client
            .delete_objects()
            .bucket(&self.bucket.name)
            .delete(objects)
            .send()
            .await
            .map_err(|error| failed(prefix, error))?;
        match answer.errors().first() {
            None => Ok(()),
            Some(error) => Err(Error::unusable(
                error.key().unwrap_or(prefix),
                error
                    .message()
                    .unwrap_or("a version was not removed")
                    .to_owned(),
            )),
        }
    }
}

#[async_trait]
impl PurgeVersions for S3Versions {
    async fn purge(
        &self,
        prefix: &str,
        is_meant: &(dyn for<'k> Fn(&'k str) -> bool + Send + Sync),
    ) -> Result<u64, Error> {
        let (mut n_removed, mut behind) = (0, (None, None));
        // A page has at most a thousand, which is what one request deletes.
        loop {
            let page = self
                .bucket
                .client
                .list_object_versions()
                .bucket(&self.bucket.name)
                .prefix(prefix)
                .set_key_marker(behind.0)
                .set_version_id_marker(behind.1)
                .send()
                .await
                .map_err(|error| failed(prefix, error))?;
            let old = old_versions(&page, is_meant)?;
            if !old.is_empty() {
                n_removed += old.len() as u64;
                self.remove(prefix, old).await?;
            }
            if page.is_truncated() != Some(true) {
                return Ok(n_removed);
            }
            behind = (page.next_key_marker, page.next_version_id_marker);
        }
    }
}

/// What of a page is not there now: earlier versions, and markers.
fn old_versions(
    page: &ListObjectVersionsOutput,
    is_meant: &(dyn for<'k> Fn(&'k str) -> bool + Send + Sync),
) -> Result<Vec<ObjectIdentifier>, Error> {
    let earlier = page
        .versions()
        .iter()
        .filter(|it| it.is_latest() != Some(true))
        .map(|it| (it.key(), it.version_id()));
    let markers = page
        .delete_markers()
        .iter()
        .map(|it| (it.key(), it.version_id()));
    let mut old = Vec::new();
    for (key, version) in earlier.chain(markers) {
        let (Some(key), Some(version)) = (key, version) else {
            continue;
        };
        if is_meant(key) {
            let one = ObjectIdentifier::builder().key(key).version_id(version);
            old.push(one.build().map_err(|error| Error::unusable(key, error))?);
        }
    }
    Ok(old)
}
