//! Documents: created once, changed by swap, and never lost to an answer that did not come.
//!
//! A 412, 409, 404, timeout or reset is not an answer. The document is read, and when it holds our `write`
//! we won; else the caller decides again from what it says. So a decision must follow from the document
//! alone. When more than a handful of others swapped between our lost write and the read-back, it is taken
//! on top of its own effect.

use cellmill_core::document::Document;
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};
use serde::de::DeserializeOwned;

use crate::error::{is_contention, is_no_answer};
use crate::key::path_of;
use crate::retry::Attempts;
use crate::trail::WriteId;
use crate::{AsKey, Error, Store};

/// A document as it was stored when it was read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<D> {
    /// The document.
    pub value: D,
    /// What names this content: a swap succeeds only while it is the stored one.
    pub etag: String,
    /// The storage's stamp. After a write of our own it is [`Store::now`] at the time of the answer,
    /// as the storage does not tell: judge leases on a document that was read.
    pub last_modified: DateTime<Utc>,
}

/// How a conditional read ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fresh<D> {
    /// Still the content that the ETag names.
    NotModified,
    /// Another content.
    Changed(Versioned<D>),
    /// Nothing is stored under the key.
    Absent,
}

/// How a create ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created<D> {
    /// The document is ours. It may have been swapped since, when our answer was lost.
    Won(Versioned<D>),
    /// Another one was there first.
    Exists(Versioned<D>),
}

impl<D> Created<D> {
    /// The stored document, whoever wrote it.
    pub fn into_stored(self) -> Versioned<D> {
        match self {
            Self::Won(stored) | Self::Exists(stored) => stored,
        }
    }

    /// Whether we wrote it.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Won(_))
    }
}

/// What to do with a document, decided from what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<D> {
    /// Store this one in its place. Its stamp is set by the store.
    Write(D),
    /// Leave it as it is.
    Keep,
}

/// How a swap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped<D> {
    /// The stored document, `None` when there is none.
    pub stored: Option<Versioned<D>>,
    /// Whether it holds a write of this swap.
    pub changed: bool,
}

/// How a replacement of a known version ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced<D> {
    /// The new document is stored.
    Won(Versioned<D>),
    /// Somebody else changed it since; what is stored now, `None` when it was deleted.
    Lost(Option<Versioned<D>>),
}

/// What the first try of a swap goes by; later ones always read.
enum FirstTry<D> {
    Read,
    Assume(Option<Versioned<D>>),
}

impl Store {
    /// Reads a document, `None` when there is none. One of a later version is an error.
    pub async fn read<D: Document>(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
    ) -> Result<Option<Versioned<D>>, Error> {
        match self.read_document(&path_of(key)?, None).await? {
            Fresh::Changed(stored) => Ok(Some(stored)),
            Fresh::Absent | Fresh::NotModified => Ok(None),
        }
    }

    /// Reads a document unless it is still the content that `etag` names.
    pub async fn read_if_changed<D: Document>(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        etag: &str,
    ) -> Result<Fresh<D>, Error> {
        self.read_document(&path_of(key)?, Some(etag)).await
    }

    /// Reads JSON that carries no stamp, such as a result file, `None` when there is none.
    pub async fn read_json<T: DeserializeOwned>(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
    ) -> Result<Option<Versioned<T>>, Error> {
        match self.read_value(&path_of(key)?, None).await? {
            Fresh::Changed(stored) => Ok(Some(stored)),
            Fresh::Absent | Fresh::NotModified => Ok(None),
        }
    }

    /// Creates a document if there is none under the key. Its stamp is set by the store.
    pub async fn create<D: Document>(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        document: D,
    ) -> Result<Created<D>, Error> {
        let path = path_of(key)?;
        let write = self.fresh_write();
        let document = stamped(document, None, &write);
        let mut attempts = Attempts::default();
        loop {
            let error = match self.put_document(&path, &document, PutMode::Create).await? {
                Ok(etag) => return Ok(Created::Won(self.just_written(document, etag))),
                Err(error) => error,
            };
            match self.read_document::<D>(&path, None).await {
                Ok(Fresh::Changed(stored)) if write.is_in(&stored.value.stamp().write) => {
                    return Ok(Created::Won(stored));
                }
                Ok(Fresh::Changed(stored)) => return Ok(Created::Exists(stored)),
                // The write did not arrive, or what was in its way is gone: once more.
                Ok(Fresh::Absent | Fresh::NotModified) => attempts.failed(error),
                Err(unread) if unread.is_transient() => attempts.failed(unread),
                Err(unread) => return Err(unread),
            }
            if let Some(error) = attempts.exhausted(path.as_ref()) {
                return Err(error);
            }
            attempts.pause(&self.chance).await;
        }
    }

    /// Changes a document: `decide` sees what is stored and says what is to be, again and again until
    /// nobody came in between. It must follow from the document alone and be free of side effects.
    pub async fn swap<D: Document>(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        decide: impl FnMut(Option<&D>) -> Decision<D> + Send,
    ) -> Result<Swapped<D>, Error> {
        self.swap_at(&path_of(key)?, FirstTry::Read, decide).await
    }

    /// As [`swap`](Self::swap), but its first try goes by `assumed`, what the caller read a moment ago or takes to be
    /// so (`None`: nothing is stored). Where that holds it saves the read; where it does not, nothing is lost but
    /// a request.
    pub async fn swap_assuming<D: Document>(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        assumed: Option<Versioned<D>>,
        decide: impl FnMut(Option<&D>) -> Decision<D> + Send,
    ) -> Result<Swapped<D>, Error> {
        self.swap_at(&path_of(key)?, FirstTry::Assume(assumed), decide)
            .await
    }

    async fn swap_at<D: Document>(
        &self,
        path: &Path,
        mut first: FirstTry<D>,
        mut decide: impl FnMut(Option<&D>) -> Decision<D> + Send,
    ) -> Result<Swapped<D>, Error> {
        let mut attempts = Attempts::default();
        // All of them, not only the last: a write given up for lost may still arrive.
        let mut ours: Vec<WriteId> = Vec::new();
        loop {
            let (is_assumed, read) = match std::mem::replace(&mut first, FirstTry::Read) {
                FirstTry::Assume(stored) => (true, Ok(stored)),
                FirstTry::Read => (false, self.stored_document(path).await),
            };
            let stored = match read {
                Ok(stored) => stored,
                Err(error) if error.is_transient() => {
                    attempts.failed(error);
                    if let Some(error) = attempts.exhausted(path.as_ref()) {
                        return Err(error);
                    }
                    attempts.pause(&self.chance).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if stored
                .as_ref()
                .is_some_and(|it| holds_any(&it.value, &ours))
            {
                return Ok(Swapped {
                    stored,
                    changed: true,
                });
            }
            // Judged only here, so that also the last write is read back.
            if let Some(error) = attempts.exhausted(path.as_ref()) {
                return Err(error);
            }
            let Decision::Write(next) = decide(stored.as_ref().map(|it| &it.value)) else {
                if is_assumed {
                    // Nothing was asked yet, and the caller is told what is stored.
                    continue;
                }
                return Ok(Swapped {
                    stored,
                    changed: false,
                });
            };
            let write = self.fresh_write();
            let next = stamped(next, stored.as_ref().map(|it| &it.value), &write);
            ours.push(write);
            match self
                .put_document(path, &next, mode_over(stored.as_ref()))
                .await?
            {
                Ok(etag) => {
                    let stored = Some(self.just_written(next, etag));
                    return Ok(Swapped {
                        stored,
                        changed: true,
                    });
                }
                Err(error) => attempts.failed(error),
            }
            // At once, before others bury our write, if it is one.
            if let Some(stored) = self.read_back::<D>(path, &ours).await {
                return Ok(Swapped {
                    stored: Some(stored),
                    changed: true,
                });
            }
            attempts.pause(&self.chance).await;
        }
    }

    async fn stored_document<D: Document>(
        &self,
        path: &Path,
    ) -> Result<Option<Versioned<D>>, Error> {
        match self.read_document::<D>(path, None).await? {
            Fresh::Changed(stored) => Ok(Some(stored)),
            Fresh::Absent | Fresh::NotModified => Ok(None),
        }
    }

    /// The stored document if it can be read and holds one of these writes.
    async fn read_back<D: Document>(&self, path: &Path, ours: &[WriteId]) -> Option<Versioned<D>> {
        match self.read_document(path, None).await {
            Ok(Fresh::Changed(stored)) if holds_any(&stored.value, ours) => Some(stored),
            // Whatever it is, the next attempt meets it again.
            _ => None,
        }
    }

    /// Puts `next` in the place of a version that the caller has read or written, without reading it first.
    pub async fn replace<D: Document>(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        known: &Versioned<D>,
        next: D,
    ) -> Result<Replaced<D>, Error> {
        let path = path_of(key)?;
        let write = self.fresh_write();
        let next = stamped(next, Some(&known.value), &write);
        let mut attempts = Attempts::default();
        loop {
            let error = match self
                .put_document(&path, &next, mode_over(Some(known)))
                .await?
            {
                Ok(etag) => return Ok(Replaced::Won(self.just_written(next, etag))),
                Err(error) => error,
            };
            match self.read_document::<D>(&path, None).await {
                Ok(Fresh::Changed(stored)) if write.is_in(&stored.value.stamp().write) => {
                    return Ok(Replaced::Won(stored));
                }
                // The write did not arrive and nobody else's did: the same write once more.
                Ok(Fresh::Changed(stored)) if stored.etag == known.etag => attempts.failed(error),
                Ok(Fresh::Changed(stored)) => return Ok(Replaced::Lost(Some(stored))),
                Ok(Fresh::Absent | Fresh::NotModified) => return Ok(Replaced::Lost(None)),
                Err(unread) if unread.is_transient() => attempts.failed(unread),
                Err(unread) => return Err(unread),
            }
            if let Some(error) = attempts.exhausted(path.as_ref()) {
                return Err(error);
            }
            attempts.pause(&self.chance).await;
        }
    }

    async fn read_document<D: Document>(
        &self,
        path: &Path,
        unless: Option<&str>,
    ) -> Result<Fresh<D>, Error> {
        let fresh = self.read_value::<D>(path, unless).await?;
        if let Fresh::Changed(stored) = &fresh {
            let found = stored.value.stamp().v;
            if found > D::VERSION {
                return Err(Error::TooNew {
                    key: path.to_string(),
                    found,
                    known: D::VERSION,
                });
            }
        }
        Ok(fresh)
    }

    async fn read_value<T: DeserializeOwned>(
        &self,
        path: &Path,
        unless: Option<&str>,
    ) -> Result<Fresh<T>, Error> {
        let options = GetOptions::new().with_if_none_match(unless);
        let result = match self.objects.get_opts(path, options).await {
            Ok(result) => result,
            Err(object_store::Error::NotFound { .. }) => return Ok(Fresh::Absent),
            Err(object_store::Error::NotModified { .. }) => return Ok(Fresh::NotModified),
            Err(error) => return Err(Error::of(path.as_ref(), error)),
        };
        let etag = result.meta.e_tag.clone().unwrap_or_default();
        let last_modified = result.meta.last_modified;
        let bytes = result
            .bytes()
            .await
            .map_err(|error| Error::of(path.as_ref(), error))?;
        let value = serde_json::from_slice(&bytes).map_err(|source| Error::Malformed {
            key: path.to_string(),
            source,
        })?;
        Ok(Fresh::Changed(Versioned {
            value,
            etag,
            last_modified,
        }))
    }

    /// One conditional write. The outer error ends the call; the inner one is no answer: a conflict when
    /// the storage says so, else unavailability.
    async fn put_document<D: Document>(
        &self,
        path: &Path,
        document: &D,
        mode: PutMode,
    ) -> Result<Result<String, Error>, Error> {
        let body = serde_json::to_vec(document).map_err(|source| Error::Unwritable {
            key: path.to_string(),
            source,
        })?;
        let options = PutOptions::from(mode);
        match self
            .objects
            .put_opts(path, PutPayload::from(body), options)
            .await
        {
            Ok(result) => Ok(Ok(match result.e_tag {
                Some(etag) => etag,
                None => self.etag_of(path).await?,
            })),
            Err(error) if is_contention(&error) => Ok(Err(Error::Conflict {
                key: path.to_string(),
                attempts: 1,
            })),
            Err(error) if is_no_answer(&error) => Ok(Err(Error::of(path.as_ref(), error))),
            Err(error) => Err(Error::of(path.as_ref(), error)),
        }
    }

    async fn etag_of(&self, path: &Path) -> Result<String, Error> {
        let meta = self.objects.head(path).await;
        let meta = meta.map_err(|error| Error::of(path.as_ref(), error))?;
        Ok(meta.e_tag.unwrap_or_default())
    }

    fn fresh_write(&self) -> WriteId {
        WriteId::new(self.fresh_id())
    }

    fn just_written<D>(&self, value: D, etag: String) -> Versioned<D> {
        Versioned {
            value,
            etag,
            last_modified: self.now(),
        }
    }
}

/// `next` with the stamp of a write that follows `previous`.
fn stamped<D: Document>(mut next: D, previous: Option<&D>, write: &WriteId) -> D {
    let previous = previous.map(Document::stamp);
    let rev = previous.map_or(0, |stamp| stamp.rev) + 1;
    let write = write.after(previous.map(|stamp| stamp.write.as_str()));
    let stamp = next.stamp_mut();
    stamp.v = D::VERSION;
    stamp.rev = rev;
    stamp.write = write;
    next
}

fn mode_over<D>(stored: Option<&Versioned<D>>) -> PutMode {
    match stored {
        None => PutMode::Create,
        Some(stored) => PutMode::Update(UpdateVersion {
            e_tag: Some(stored.etag.clone()),
            version: None,
        }),
    }
}

fn holds_any<D: Document>(document: &D, writes: &[WriteId]) -> bool {
    let write = &document.stamp().write;
    writes.iter().any(|ours| ours.is_in(write))
}
