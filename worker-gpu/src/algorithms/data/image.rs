//! The pixels of one image: fetched, checked, decoded.

use std::sync::Arc;

use cellmill_core::ids::sha256_hex;
use cellmill_core::snapshot::InputImage;
use cellmill_store::Store;
use cellmill_vision::{DecodeBudget, Decoded, Limits, decode_within};
use cellmill_worker::Failure;
use futures::TryStreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Why an image gave no cells.
#[derive(Debug)]
pub(crate) enum ImageError {
    /// Because of the image: a row in `rejected`, the unit goes on.
    Rejected { code: &'static str, reason: String },
    /// Because of the world: the unit fails.
    Failed(Failure),
}

impl From<Failure> for ImageError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Opens images within the memory that all units of one process share.
#[derive(Clone, Debug)]
pub(crate) struct ImageReader {
    limits: Limits,
    budget: DecodeBudget,
    /// KiB of image files in memory; one file of the largest size always fits.
    files: Arc<Semaphore>,
    files_kib: u32,
}

impl ImageReader {
    pub(crate) fn new(limits: Limits, budget: DecodeBudget) -> Self {
        let files_kib = kib(limits.max_bytes).max(1);
        Self {
            limits,
            budget,
            files: Arc::new(Semaphore::new(files_kib as usize)),
            files_kib,
        }
    }

    /// The decoded image, when its bytes are the frozen ones.
    ///
    /// Blocks its thread while it decodes or waits for memory to decode: a caller holds one image at a time.
    pub(super) async fn open(
        &self,
        store: &Store,
        image: &InputImage,
    ) -> Result<Decoded, ImageError> {
        let decoded = self.open_bytes(store, &image.key, &image.sha256).await?;
        let (width, height) = (decoded.image.width, decoded.image.height);
        if (width, height) != (image.w, image.h) {
            let reason = format!(
                "it is {width} x {height} pixels and its record says {} x {}",
                image.w, image.h
            );
            return Err(rejected("size_differs", reason));
        }
        Ok(decoded)
    }

    /// The same by key and hash alone.
    pub(crate) async fn open_bytes(
        &self,
        store: &Store,
        key: &str,
        sha256: &str,
    ) -> Result<Decoded, ImageError> {
        let (bytes, held) = self.fetch(store, key).await?;
        if sha256_hex(&bytes) != sha256 {
            return Err(rejected(
                "conflict",
                "its bytes are not those that were frozen with the data set",
            ));
        }
        let decoded = decode_within(&bytes, &self.limits, &self.budget)
            .map_err(|refusal| rejected(refusal.code(), cellmill_service::report(&refusal)))?;
        drop(held);
        Ok(decoded)
    }

    async fn fetch(
        &self,
        store: &Store,
        key: &str,
    ) -> Result<(Vec<u8>, SemaphorePermit<'_>), ImageError> {
        let failed = |error| Failure::of_store(format!("could not read image `{key}`"), error);
        let (head, stream) = match store.get_stream(key).await {
            Ok(opened) => opened,
            Err(error) if error.is_not_found() => {
                return Err(rejected("missing", "it is not there any more"));
            }
            Err(error) => return Err(failed(error).into()),
        };
        if head.size > self.limits.max_bytes {
            let reason = format!(
                "file size in bytes is {}, the limit is {}",
                head.size, self.limits.max_bytes
            );
            return Err(rejected("too_large", reason));
        }
        let share = self
            .files
            .acquire_many(kib(head.size).min(self.files_kib))
            .await;
        let held = share.expect("nobody closes the semaphore");
        let bytes = Vec::with_capacity(head.size as usize);
        let read = stream.try_fold(bytes, |mut bytes, chunk| async move {
            bytes.extend_from_slice(&chunk);
            Ok(bytes)
        });
        Ok((read.await.map_err(failed)?, held))
    }
}

fn rejected(code: &'static str, reason: impl Into<String>) -> ImageError {
    ImageError::Rejected {
        code,
        reason: reason.into(),
    }
}

/// Whole KiB, rounded up.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
