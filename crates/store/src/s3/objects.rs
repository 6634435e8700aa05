//! `object_store`'s S3 with the care that documents need.

use std::fmt::{Display, Formatter};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::upload::S3Upload;

/// The objects of one bucket.
#[derive(Clone, Debug)]
pub(crate) struct S3Objects {
    pub(super) bucket: String,
    /// Repeats what failed in passing.
    pub(super) patient: AmazonS3,
    /// Sends a request once: for conditional writes, whose repetition would be refused because of the first.
    pub(super) once: AmazonS3,
    /// For what `object_store` has no verb for.
    pub(super) sdk: aws_sdk_s3::Client,
}

impl S3Objects {
    /// Asks the bucket whether it is there and lets us in.
    pub(crate) async fn check(&self) -> Result<()> {
        self.patient.list_with_delimiter(Some(&PROBE)).await?;
        Ok(())
    }
}

/// A prefix that holds nothing: listing it tells whether the bucket answers, and its time.
const PROBE: Path = Path::ROOT;

impl Display for S3Objects {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}", self.bucket)
    }
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        match opts.mode {
            PutMode::Overwrite => self.patient.put_opts(location, payload, opts).await,
            PutMode::Create => {
                let put = self.once.put_opts(location, payload, opts).await;
                put.map_err(refused_by_a_race)
            }
            PutMode::Update(_) => self.once.put_opts(location, payload, opts).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(S3Upload::begin(self, location, opts).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = options.range.clone();
        let error = match self.patient.get_opts(location, options).await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        if let (Error::Generic { .. }, Some(range)) = (&error, range) {
            // A range outside of the object is refused for good; nothing else tells it from a passing fault.
            let size = self.patient.head(location).await?.size;
            range.as_range(size).map_err(|source| Error::NotSupported {
                source: source.into(),
            })?;
        }
        Err(error)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.patient.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.patient.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.patient.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.patient.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.once.copy_opts(from, to, options).await
    }
}

/// S3 answers a create with 412 when the object is there, and with 409 when another write of the key was on its
/// way, whose end nobody knows. `object_store` calls both "already exists"; the second is no answer.
fn refused_by_a_race(error: Error) -> Error {
    match error {
        Error::AlreadyExists { source, path } if !is_precondition(&*source) => Error::Generic {
            store: "S3",
            source: format!("another write of `{path}` was on its way: {source}").into(),
        },
        other => other,
    }
}

fn is_precondition(source: &(dyn std::error::Error + 'static)) -> bool {
    matches!(
        source.downcast_ref::<Error>(),
        Some(Error::Precondition { .. } | Error::NotModified { .. })
    )
}
