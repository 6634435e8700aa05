//! Objects sent in parts, completed create-only when asked, and never twice.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, MultipartId, MultipartUpload, ObjectStore as _,
    PutMultipartOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::objects::S3Objects;
use crate::CreateOnly;

/// The metadata of an object by which its writer knows it again.
const WRITE: &str = "cellmill-write";
/// A completion that got no answer is looked for, and sent again if nothing came of it.
const MAX_COMPLETIONS: u32 = 6;

/// One upload in parts.
#[derive(Debug)]
pub(super) struct S3Upload {
    objects: S3Objects,
    path: Path,
    id: MultipartId,
    /// Stands in the object's metadata: a completion whose answer was lost is recognised by it.
    write: String,
    create_only: bool,
    next: usize,
    parts: Arc<Mutex<Vec<(usize, PartId)>>>,
}

impl S3Upload {
    pub(super) async fn begin(
        objects: &S3Objects,
        path: &Path,
        mut options: PutMultipartOptions,
    ) -> Result<Self> {
        let create_only = options.extensions.get::<CreateOnly>().is_some();
        let write = ulid::Ulid::generate().to_string();
        options
            .attributes
            .insert(Attribute::Metadata(WRITE.into()), write.clone().into());
        let id = objects.patient.create_multipart_opts(path, options).await?;
        Ok(Self {
            objects: objects.clone(),
            path: path.clone(),
            id,
            write,
            create_only,
            next: 0,
            parts: Arc::default(),
        })
    }

    async fn complete_once(&self, parts: &[PartId]) -> Result<PutResult> {
        let parts = (1..).zip(parts).map(|(number, part)| {
            CompletedPart::builder()
                .part_number(number)
                .e_tag(&part.content_id)
                .build()
        });
        let upload = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let completed = self
            .objects
            .sdk
            .complete_multipart_upload()
            .bucket(&self.objects.bucket)
            .key(self.path.as_ref())
            .upload_id(&self.id)
            .set_if_none_match(self.create_only.then(|| "*".to_owned()))
            .multipart_upload(upload)
            .send()
            .await;
        match completed {
            Ok(output) => Ok(PutResult {
                e_tag: output.e_tag,
                version: output.version_id,
                extensions: object_store::Extensions::default(),
            }),
            Err(source) => Err(Error::Generic {
                store: "S3",
                source: Box::new(source),
            }),
        }
    }

    /// What lies under the key, if it is what this upload wrote; an error when another object is in the way.
    async fn look(&self) -> Result<Option<PutResult>> {
        let options = object_store::GetOptions::new().with_head(true);
        let found = match self.objects.get_opts(&self.path, options).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if is_written_by(&found.attributes, &self.write) {
            return Ok(Some(PutResult {
                e_tag: found.meta.e_tag,
                version: found.meta.version,
                extensions: object_store::Extensions::default(),
            }));
        }
        if self.create_only {
            return Err(Error::AlreadyExists {
                path: self.path.to_string(),
                source: "an object of another writer lies there".into(),
            });
        }
        Ok(None)
    }
}

fn is_written_by(attributes: &Attributes, write: &str) -> bool {
    attributes
        .get(&Attribute::Metadata(WRITE.into()))
        .is_some_and(|it| it.as_ref() == write)
}

#[async_trait]
impl MultipartUpload for S3Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let number = self.next;
        self.next += 1;
        let (client, path, id) = (
            self.objects.patient.clone(),
            self.path.clone(),
            self.id.clone(),
        );
        let parts = Arc::clone(&self.parts);
        Box::pin(async move {
            let part = client.put_part(&path, &id, number, data).await?;
            parts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((number, part));
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = {
            let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.sort_by_key(|(number, _)| *number);
            parts
                .iter()
                .map(|(_, part)| part.clone())
                .collect::<Vec<_>>()
        };
        if parts.len() != self.next {
            return Err(Error::Generic {
                store: "S3",
                source: format!("{} of {} parts were sent", parts.len(), self.next).into(),
            });
        }
        let mut tried = 0;
        loop {
            let error = match self.complete_once(&parts).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if let Some(done) = self.look().await? {
                return Ok(done);
            }
            tried += 1;
            if tried == MAX_COMPLETIONS {
                return Err(error);
            }
            crate::retry::pause(tried, &crate::chance::Chance::System).await;
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.objects
            .patient
            .abort_multipart(&self.path, &self.id)
            .await
    }
}
