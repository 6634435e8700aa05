//! The memory home: `object_store`'s own, with the two answers in which it differs from S3 put right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};

use crate::CreateOnly;
use crate::clock::GivenClock;

/// An object store in memory whose multipart uploads honour [`CreateOnly`] and which refuses
/// a range outside of the object for good rather than as a passing fault.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: InMemory,
    stamps: Option<Stamps>,
}

impl MemoryStore {
    /// A new, empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new, empty one whose stamps `clock` makes instead of this machine.
    pub fn stamped_by(clock: GivenClock) -> Self {
        Self {
            objects: InMemory::new(),
            stamps: Some(Stamps {
                clock,
                made: Arc::default(),
            }),
        }
    }

    async fn put(&self, location: &Path, whole: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let result = self.objects.put_opts(location, whole, opts).await?;
        if let Some(stamps) = &self.stamps {
            stamps.stamp(location);
        }
        Ok(result)
    }
}

/// When each object was last written, by a clock that was given.
#[derive(Clone)]
struct Stamps {
    clock: GivenClock,
    made: Arc<Mutex<HashMap<Path, DateTime<Utc>>>>,
}

impl Stamps {
    fn stamp(&self, location: &Path) {
        let now = (self.clock)();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert(location.clone(), now);
    }

    fn put_right(&self, meta: &mut ObjectMeta) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stamp) = made.get(&meta.location) {
            meta.last_modified = *stamp;
        }
    }
}

impl std::fmt::Debug for Stamps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stamps").finish_non_exhaustive()
    }
}

impl std::fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.put(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let mode = match opts.extensions.get::<CreateOnly>() {
            Some(CreateOnly) => PutMode::Create,
            None => PutMode::Overwrite,
        };
        Ok(Box::new(Upload {
            store: self.clone(),
            location: location.clone(),
            mode,
            parts: Vec::new(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(range) = &options.range {
            let size = self.objects.head(location).await?.size;
            range.as_range(size).map_err(|source| Error::NotSupported {
                source: source.into(),
            })?;
        }
        let mut result = self.objects.get_opts(location, options).await?;
        if let Some(stamps) = &self.stamps {
            stamps.put_right(&mut result.meta);
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.objects.list(prefix);
        let Some(stamps) = self.stamps.clone() else {
            return listed;
        };
        listed
            .map(move |meta| {
                let mut meta = meta?;
                stamps.put_right(&mut meta);
                Ok(meta)
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.objects.list_with_delimiter(prefix).await?;
        if let Some(stamps) = &self.stamps {
            listed
                .objects
                .iter_mut()
                .for_each(|it| stamps.put_right(it));
        }
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await?;
        if let Some(stamps) = &self.stamps {
            stamps.stamp(to);
        }
        Ok(())
    }
}

/// Parts wait in memory, where they would end anyway, and become one put.
#[derive(Debug)]
struct Upload {
    store: MemoryStore,
    location: Path,
    mode: PutMode,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let whole = self.parts.drain(..).flatten().collect();
        let options = PutOptions::from(self.mode.clone());
        self.store.put(&self.location, whole, options).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
