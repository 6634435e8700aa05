//! A gate before a store: somebody sees every call on its way in and every answer on its way out, and may hold
//! either up, change it, or have it lost. What [`fault`](crate::fault) does by rules, a simulation does by a plan.

use std::fmt::{Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::Store;
use crate::fault::{Kind, Operation, error};

/// One call, on its way in.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: Operation,
    /// The key, or the prefix of a listing.
    pub key: String,
    /// What a put brings.
    pub body: Option<Bytes>,
    /// Of a GET: only unless this is the stored content.
    pub unless: Option<String>,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the store.
    In,
    /// Back, with this error: nothing happened.
    Back(Kind),
    /// Into the store so much later: its caller gets no answer, and it is done all the same. Puts only.
    Late(Duration),
    /// Nowhere, and the caller of a put or delete is told that it was done.
    Away,
}

/// Who stands at the gate.
#[async_trait]
pub trait Keeper: Debug + Send + Sync + 'static {
    /// A call comes. Its operation and its body may be changed; what it names may not.
    async fn comes(&self, call: &mut Call) -> Way;

    /// It was done, or the store refused it (`is_done` is false). `body` is what a GET found, and may be changed.
    /// An error is what the caller gets in place of the answer.
    async fn done(&self, call: &Call, is_done: bool, body: &mut Option<Bytes>) -> Option<Kind>;

    /// A put came late to the store, and was done or refused. Nobody waits for it any more.
    async fn landed(&self, call: &Call, is_done: bool);
}

impl Store {
    /// The same store behind a gate.
    #[must_use]
    pub fn behind(&self, keeper: Arc<dyn Keeper>) -> Self {
        self.wrapped(|inner| Arc::new(Gate { inner, keeper }))
    }
}

#[derive(Clone, Debug)]
struct Gate {
    inner: Arc<dyn ObjectStore>,
    keeper: Arc<dyn Keeper>,
}

impl Gate {
    async fn put(&self, location: &Path, call: &Call, mut opts: PutOptions) -> Result<PutResult> {
        if call.operation == Operation::Overwrite {
            opts.mode = PutMode::Overwrite;
        }
        let payload = PutPayload::from_bytes(call.body.clone().unwrap_or_default());
        self.inner.put_opts(location, payload, opts).await
    }

    /// Runs a call that brings no bytes back. `None`: the call went away.
    async fn pass<T>(
        &self,
        mut call: Call,
        go: impl AsyncFnOnce(Call) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.keeper.comes(&mut call).await {
            Way::Back(kind) => return Err(error(kind, &call.key)),
            Way::Late(_) => return Err(error(Kind::Unavailable, &call.key)),
            Way::Away => return Ok(None),
            Way::In => {}
        }
        let result = go(call.clone()).await;
        let lost = self
            .keeper
            .done(&call, result.is_ok(), &mut None)
            .await
            .map(|kind| error(kind, &call.key));
        lost.map_or(result.map(Some), Err)
    }
}

impl Display for Gate {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "gated {}", self.inner)
    }
}

fn call(operation: Operation, key: &str) -> Call {
    Call {
        operation,
        key: key.to_owned(),
        body: None,
        unless: None,
    }
}

#[async_trait]
impl ObjectStore for Gate {
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
        let call = Call {
            body: Some(payload.into()),
            ..call(operation, location.as_ref())
        };
        let mut call = call;
        match self.keeper.comes(&mut call).await {
            Way::Back(kind) => Err(error(kind, &call.key)),
            Way::Away => Ok(PutResult {
                e_tag: Some("nowhere".to_owned()),
                version: None,
                extensions: Extensions::default(),
            }),
            Way::In => {
                let result = self.put(location, &call, opts).await;
                let lost = self.keeper.done(&call, result.is_ok(), &mut None).await;
                lost.map_or(result, |kind| Err(error(kind, &call.key)))
            }
            Way::Late(after) => {
                let lost = error(Kind::Unavailable, &call.key);
                let (gate, location) = (self.clone(), location.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let result = gate.put(&location, &call, opts).await;
                    gate.keeper.landed(&call, result.is_ok()).await;
                });
                Err(lost)
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut call = Call {
            unless: options.if_none_match.clone(),
            ..call(Operation::Get, location.as_ref())
        };
        match self.keeper.comes(&mut call).await {
            Way::Back(kind) => return Err(error(kind, &call.key)),
            Way::Late(_) => return Err(error(Kind::Unavailable, &call.key)),
            Way::In | Way::Away => {}
        }
        let (mut result, mut body) = (self.inner.get_opts(location, options).await, None);
        if let Ok(found) = result {
            let (meta, range) = (found.meta.clone(), found.range.clone());
            let (attributes, extensions) = (found.attributes.clone(), found.extensions.clone());
            body = Some(found.bytes().await?);
            result = Ok(GetResult {
                payload: GetResultPayload::Stream(stream::empty().boxed()),
                meta,
                range,
                attributes,
                extensions,
            });
        }
        if let Some(kind) = self.keeper.done(&call, result.is_ok(), &mut body).await {
            return Err(error(kind, &call.key));
        }
        let body = body.unwrap_or_default();
        result.map(|it| GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(body)]).boxed()),
            ..it
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let gate = self.clone();
        let delete = move |location: Result<Path>| {
            let gate = gate.clone();
            async move {
                let location = location?;
                let call = call(Operation::Delete, location.as_ref());
                gate.pass(call, async |_| gate.inner.delete(&location).await)
                    .await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (gate, prefix) = (self.clone(), prefix.cloned());
        let list = async move {
            let key = prefix.as_ref().map(Path::as_ref).unwrap_or_default();
            let list = async |_| {
                gate.inner
                    .list(prefix.as_ref())
                    .try_collect::<Vec<_>>()
                    .await
            };
            let listed = gate.pass(call(Operation::List, key), list).await?;
            Ok::<_, Error>(stream::iter(listed.unwrap_or_default()).map(Ok))
        };
        stream::once(list).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map(Path::as_ref).unwrap_or_default();
        let list = async |_| self.inner.list_with_delimiter(prefix).await;
        let listed = self.pass(call(Operation::List, key), list).await?;
        Ok(listed.unwrap_or_else(|| ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Extensions::default(),
        }))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = async |_| self.inner.copy_opts(from, to, options).await;
        self.pass(call(Operation::Copy, to.as_ref()), copy)
            .await
            .map(drop)
    }
}
