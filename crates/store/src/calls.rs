//! How often a process calls its store, and how that ends: counted where every call passes.

use std::fmt::{Debug, Display, Formatter};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};

const OPERATIONS: [&str; 6] = ["get", "list", "put", "part", "delete", "copy"];
const OUTCOMES: [&str; 4] = ["ok", "not_found", "refused", "error"];

#[derive(Clone, Copy, Debug)]
enum Operation {
    Get,
    List,
    Put,
    /// A part of a large object, its begin and its completion.
    Part,
    Delete,
    Copy,
}

/// The calls of one store handle and all its clones, since it was opened.
#[derive(Debug, Default)]
pub struct Calls {
    counts: [[AtomicU64; OUTCOMES.len()]; OPERATIONS.len()],
}

impl Calls {
    /// (operation, outcome, how many). `refused` is a condition that did not hold: it exists, it changed, it did not
    /// change. A listing counts when it begins, and once more as an `error` when it breaks.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let by_operation = OPERATIONS.into_iter().zip(&self.counts);
        by_operation.flat_map(|(operation, counts)| {
            let by_outcome = OUTCOMES.into_iter().zip(counts);
            by_outcome.map(move |(outcome, n)| (operation, outcome, n.load(Ordering::Relaxed)))
        })
    }

    fn ended(&self, operation: Operation, error: Option<&Error>) {
        let outcome = match error {
            None => 0,
            Some(Error::NotFound { .. }) => 1,
            Some(
                Error::AlreadyExists { .. }
                | Error::Precondition { .. }
                | Error::NotModified { .. },
            ) => 2,
            Some(_) => 3,
        };
        self.counts[operation as usize][outcome].fetch_add(1, Ordering::Relaxed);
    }

    async fn count<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let result = call.await;
        self.ended(operation, result.as_ref().err());
        result
    }
}

/// An object store that counts. It changes nothing.
#[derive(Debug)]
pub(crate) struct Counted {
    inner: Arc<dyn ObjectStore>,
    calls: Arc<Calls>,
}

impl Counted {
    /// The store with its counts.
    pub(crate) fn over(inner: Arc<dyn ObjectStore>) -> (Arc<dyn ObjectStore>, Arc<Calls>) {
        let calls = Arc::<Calls>::default();
        let counted = Self {
            inner,
            calls: Arc::clone(&calls),
        };
        (Arc::new(counted), calls)
    }

    fn listing(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.calls.ended(Operation::List, None);
        let calls = Arc::clone(&self.calls);
        listing
            .inspect_err(move |error| calls.ended(Operation::List, Some(error)))
            .boxed()
    }
}

impl Display for Counted {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let call = self.inner.put_opts(location, payload, opts);
        self.calls.count(Operation::Put, call).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let call = self.inner.put_multipart_opts(location, opts);
        let inner = self.calls.count(Operation::Part, call).await?;
        Ok(Box::new(CountedUpload {
            inner,
            calls: Arc::clone(&self.calls),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let call = self.inner.get_opts(location, options);
        self.calls.count(Operation::Get, call).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let call = self.inner.get_ranges(location, ranges);
        self.calls.count(Operation::Get, call).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let calls = Arc::clone(&self.calls);
        let deleted = self.inner.delete_stream(locations);
        deleted
            .inspect(move |it| calls.ended(Operation::Delete, it.as_ref().err()))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let call = self.inner.list_with_delimiter(prefix);
        self.calls.count(Operation::List, call).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let call = self.inner.copy_opts(from, to, options);
        self.calls.count(Operation::Copy, call).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let call = self.inner.rename_opts(from, to, options);
        self.calls.count(Operation::Copy, call).await
    }
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    calls: Arc<Calls>,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (calls, call) = (Arc::clone(&self.calls), self.inner.put_part(data));
        Box::pin(async move { calls.count(Operation::Part, call).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let call = self.inner.complete();
        self.calls.count(Operation::Part, call).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use crate::{Put, Store};

    #[tokio::test]
    async fn calls_are_counted_by_how_they_ended() {
        let store = Store::memory();
        store.put_bytes("x/a", "1", Put::Create).await.unwrap();
        store.put_bytes("x/a", "2", Put::Create).await.unwrap_err();
        assert!(store.head("x/b").await.unwrap().is_none());
        store.list_level("x/").await.unwrap();
        store.clone().get_bytes("x/a").await.unwrap();
        store.delete("x/a").await.unwrap();
        let counted: Vec<_> = store.calls().read().filter(|it| it.2 > 0).collect();
        assert_eq!(
            counted,
            [
                ("get", "ok", 1),
                ("get", "not_found", 1),
                ("list", "ok", 1),
                ("put", "ok", 1),
                ("put", "refused", 1),
                ("delete", "ok", 1),
            ]
        );
    }
}
