//! Whole files, each by one signed PUT.

use async_trait::async_trait;
use aws_sdk_s3::presigning::PresignedRequest;
use chrono::{DateTime, Utc};

use super::bucket::{Bucket, failed, until};
use super::downloads::S3Downloads;
use crate::Error;
use crate::objects::SHA256_FIELD;
use crate::uploads::{SignUploads, SignedUpload, UploadGrant};

/// Signs uploads to a bucket, whole or in parts.
#[derive(Clone, Debug)]
pub struct S3Uploads {
    pub(super) bucket: Bucket,
}

impl S3Uploads {
    /// The uploads of a bucket: region, credentials and `AWS_ENDPOINT_URL` come from the environment. Sends nothing.
    pub async fn open(bucket: &str) -> Result<Self, Error> {
        let bucket = Bucket::open(bucket).await?;
        Ok(Self { bucket })
    }

    /// Signed reads of the same bucket.
    pub fn downloads(&self) -> S3Downloads {
        S3Downloads {
            bucket: self.bucket.clone(),
        }
    }
}

#[async_trait]
impl SignUploads for S3Uploads {
    async fn sign(&self, grant: &UploadGrant) -> Result<SignedUpload, Error> {
        let put = self
            .bucket
            .client
            .put_object()
            .bucket(&self.bucket.name)
            .key(&grant.key)
            .content_length(grant.size.cast_signed())
            .content_type(&grant.content_type)
            // S3 checks the one and keeps the other, which every home's `Head` shows.
            .checksum_sha256(grant.sha256.to_base64())
            .metadata(SHA256_FIELD, grant.sha256.as_str())
            .set_if_none_match(grant.create_only.then(|| "*".to_owned()))
            .presigned(until(&grant.key, grant.expires)?)
            .await
            .map_err(|error| failed(&grant.key, error))?;
        Ok(signed(&put, grant.size, grant.expires))
    }
}

/// A presigned request as the sender needs it.
pub(super) fn signed(
    request: &PresignedRequest,
    size: u64,
    expires: DateTime<Utc>,
) -> SignedUpload {
    let mut headers: Vec<(String, String)> = request
        .headers()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let has_length = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !has_length {
        headers.push(("content-length".to_owned(), size.to_string()));
    }
    SignedUpload {
        method: request.method().to_owned(),
        url: request.uri().to_owned(),
        headers,
        expires,
    }
}
