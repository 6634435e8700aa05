//! Faults on purpose: an object store that fails before a call, or after it, when the write has happened and
//! only the answer is lost. Seeded, so that a failing run can be repeated.

use std::fmt::{Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A put that may replace.
    Overwrite,
    /// A put that may not replace.
    Create,
    /// A put over a known version.
    Update,
    /// A GET or HEAD.
    Get,
    /// A listing.
    List,
    /// A deletion.
    Delete,
    /// One part of a multipart upload.
    Part,
    /// The completion of a multipart upload.
    Complete,
    /// A copy or rename.
    Copy,
}

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing happened.
    Before,
    /// It happened, and the answer is lost.
    After,
}

/// Which of the matching calls fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    /// Each with this probability, 0 to 1.
    Some(f64),
    /// Only the n-th, counted from 1.
    Nth(u64),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As a timeout, reset or 5xx does.
    Unavailable,
    /// As a 412: S3 answers so when it repeated a conditional put that had succeeded.
    Precondition,
    /// As a 409: something is there already.
    Exists,
    /// As a 304.
    NotModified,
    /// As a 403.
    Denied,
}

/// One source of faults.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which calls.
    pub operation: Operation,
    /// Of keys (or listed prefixes) that start so; empty for all.
    pub prefix: String,
    /// Before or after the call.
    pub moment: Moment,
    /// How often.
    pub which: Which,
    /// With which error.
    pub kind: Kind,
}

/// An object store over another one that fails as its rules say.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

/// The rules of a [`FaultyStore`] and what came of them.
#[derive(Debug)]
pub struct Faults {
    rules: Vec<(Rule, AtomicU64)>,
    random: Mutex<StdRng>,
    injected: AtomicU64,
}

impl Faults {
    /// How many calls failed on purpose so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    /// How many calls each rule met, failed or not: with [`Which::Nth`] of a number that never comes, a count.
    pub fn met(&self) -> Vec<u64> {
        let counts = self.rules.iter();
        counts.map(|it| it.1.load(Ordering::Relaxed)).collect()
    }

    fn check(&self, operation: Operation, key: &str, moment: Moment) -> Result<()> {
        for (rule, count) in &self.rules {
            let matches = rule.operation == operation
                && rule.moment == moment
                && key.starts_with(&rule.prefix);
            if matches && self.is_due(rule.which, count) {
                self.injected.fetch_add(1, Ordering::Relaxed);
                return Err(error(rule.kind, key));
            }
        }
        Ok(())
    }

    fn is_due(&self, which: Which, count: &AtomicU64) -> bool {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        match which {
            Which::Nth(n) => number == n,
            Which::Some(probability) => {
                let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                random.random_bool(probability)
            }
        }
    }

    /// Runs a call between its two moments.
    async fn around<T>(
        &self,
        operation: Operation,
        key: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.check(operation, key, Moment::Before)?;
        let result = call.await?;
        self.check(operation, key, Moment::After)?;
        Ok(result)
    }
}

pub(crate) fn error(kind: Kind, key: &str) -> Error {
    let source = "injected fault".into();
    let path = key.to_owned();
    match kind {
        Kind::Unavailable => Error::Generic {
            store: "faulty",
            source,
        },
        Kind::Precondition => Error::Precondition { path, source },
        Kind::Exists => Error::AlreadyExists { path, source },
        Kind::NotModified => Error::NotModified { path, source },
        Kind::Denied => Error::PermissionDenied { path, source },
    }
}

impl FaultyStore {
    /// Wraps a store.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        seed: u64,
        rules: impl IntoIterator<Item = Rule>,
    ) -> Self {
        Self {
            inner,
            faults: Arc::new(Faults {
                rules: rules
                    .into_iter()
                    .map(|rule| (rule, AtomicU64::new(0)))
                    .collect(),
                random: Mutex::new(StdRng::seed_from_u64(seed)),
                injected: AtomicU64::new(0),
            }),
        }
    }

    /// A handle on the counts, which stays valid when the store is handed over.
    pub fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }
}

impl Display for FaultyStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let operation = match &opts.mode {
            PutMode::Overwrite => Operation::Overwrite,
            PutMode::Create => Operation::Create,
            PutMode::Update(_) => Operation::Update,
        };
        let call = self.inner.put_opts(location, payload, opts);
        self.faults.around(operation, location.as_ref(), call).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(FaultyUpload {
            inner,
            key: location.clone(),
            faults: self.faults(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let call = self.inner.get_opts(location, options);
        self.faults
            .around(Operation::Get, location.as_ref(), call)
            .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (before, after) = (self.faults(), self.faults());
        let locations = locations.map(move |location| {
            let location = location?;
            before.check(Operation::Delete, location.as_ref(), Moment::Before)?;
            Ok(location)
        });
        let deleted = self.inner.delete_stream(locations.boxed());
        deleted
            .map(move |location| {
                let location = location?;
                after.check(Operation::Delete, location.as_ref(), Moment::After)?;
                Ok(location)
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let key = prefix.map(Path::as_ref).unwrap_or_default();
        match self.faults.check(Operation::List, key, Moment::Before) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let key = prefix.map(Path::as_ref).unwrap_or_default();
        match self.faults.check(Operation::List, key, Moment::Before) {
            Ok(()) => self.inner.list_with_offset(prefix, offset),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map(Path::as_ref).unwrap_or_default();
        let call = self.inner.list_with_delimiter(prefix);
        self.faults.around(Operation::List, key, call).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let call = self.inner.copy_opts(from, to, options);
        self.faults.around(Operation::Copy, to.as_ref(), call).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let call = self.inner.rename_opts(from, to, options);
        self.faults.around(Operation::Copy, to.as_ref(), call).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    key: Path,
    faults: Arc<Faults>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (faults, key) = (Arc::clone(&self.faults), self.key.clone());
        let call = self.inner.put_part(data);
        Box::pin(async move { faults.around(Operation::Part, key.as_ref(), call).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let call = self.inner.complete();
        self.faults
            .around(Operation::Complete, self.key.as_ref(), call)
            .await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
