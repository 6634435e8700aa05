//! Large files, in parts that the bucket keeps.
//!
//! S3 checks each part's sha256 and, on completion, that the parts are those that were sent, but not the sha256 of
//! the whole. That stands in the object's metadata, and whoever reads the whole object first compares.

use async_trait::async_trait;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use cellmill_core::uploads::UploadSession;

use super::bucket::{failed, has_code, until};
use super::uploads::{S3Uploads, signed};
use crate::Error;
use crate::objects::SHA256_FIELD;
use crate::uploads::{
    PartUploads, Received, Sha256Hex, SignedUpload, StoredPart, UploadRefusal, WantedPart,
};

const NO_SUCH_UPLOAD: &str = "NoSuchUpload";

#[async_trait]
impl PartUploads for S3Uploads {
    async fn begin(&self, session: &UploadSession) -> Result<Option<String>, Error> {
        let begun = self
            .bucket
            .client
            .create_multipart_upload()
            .bucket(&self.bucket.name)
            .key(&session.key)
            .content_type(&session.content_type)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata(SHA256_FIELD, &session.sha256)
            .send()
            .await
            .map_err(|error| failed(&session.key, error))?;
        match begun.upload_id {
            Some(id) => Ok(Some(id)),
            None => Err(Error::unusable(
                &session.key,
                "the storage began an upload and did not name it",
            )),
        }
    }

    async fn sign_part(
        &self,
        session: &UploadSession,
        part: &WantedPart,
    ) -> Result<SignedUpload, Error> {
        let put = self
            .bucket
            .client
            .upload_part()
            .bucket(&self.bucket.name)
            .key(&session.key)
            .upload_id(id_of(session)?)
            .part_number(part.number.cast_signed())
            .content_length(part.bytes.cast_signed())
            .checksum_sha256(part.sha256.to_base64())
            .presigned(until(&session.key, part.expires)?)
            .await
            .map_err(|error| failed(&session.key, error))?;
        Ok(signed(&put, part.bytes, part.expires))
    }

    async fn parts(&self, session: &UploadSession) -> Result<Option<Vec<StoredPart>>, Error> {
        let mut pages = self
            .bucket
            .client
            .list_parts()
            .bucket(&self.bucket.name)
            .key(&session.key)
            .upload_id(id_of(session)?)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if has_code(&error, NO_SUCH_UPLOAD) => return Ok(None),
                Err(error) => return Err(failed(&session.key, error)),
            };
            for part in page.parts.unwrap_or_default() {
                let checksum = part.checksum_sha256.as_deref();
                found.push(StoredPart {
                    number: part.part_number.unwrap_or_default().cast_unsigned(),
                    bytes: part.size.unwrap_or_default().cast_unsigned(),
                    sha256: checksum.and_then(|it| Sha256Hex::from_base64(it).ok()),
                    tag: part.e_tag.unwrap_or_default(),
                });
            }
        }
        Ok(Some(found))
    }

    async fn assemble(
        &self,
        session: &UploadSession,
        parts: &[StoredPart],
    ) -> Result<Received, UploadRefusal> {
        let key = &session.key;
        let stored = |source| UploadRefusal::Store {
            key: key.clone(),
            source,
        };
        let parts = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number.cast_signed())
                .e_tag(&part.tag)
                .set_checksum_sha256(part.sha256.as_ref().map(Sha256Hex::to_base64))
                .build()
        });
        let whole = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let completed = self
            .bucket
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(key)
            .upload_id(id_of(session).map_err(stored)?)
            .multipart_upload(whole)
            .set_if_none_match(session.create_only.then(|| "*".to_owned()))
            .send()
            .await;
        match completed {
            Ok(_) => Ok(Received::Stored),
            Err(error) if has_code(&error, "PreconditionFailed") => {
                Err(UploadRefusal::Exists { key: key.clone() })
            }
            // Either an earlier call made the object and its answer was lost, or the upload is gone.
            Err(error) if has_code(&error, NO_SUCH_UPLOAD) => {
                Err(UploadRefusal::Forgotten { key: key.clone() })
            }
            Err(error) => Err(stored(failed(key, error))),
        }
    }

    async fn discard(&self, session: &UploadSession) -> Result<(), Error> {
        let Some(id) = &session.storage_id else {
            return Ok(());
        };
        let aborted = self
            .bucket
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket.name)
            .key(&session.key)
            .upload_id(id)
            .send()
            .await;
        match aborted {
            Err(error) if !has_code(&error, NO_SUCH_UPLOAD) => Err(failed(&session.key, error)),
            _ => Ok(()),
        }
    }
}

fn id_of(session: &UploadSession) -> Result<&str, Error> {
    let id = session.storage_id.as_deref();
    id.ok_or_else(|| {
        Error::unusable(
            &session.key,
            "its upload was begun in a home that names no uploads",
        )
    })
}
