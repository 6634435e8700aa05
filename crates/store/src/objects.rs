//! Bytes: images, packs, result files. They appear whole or not at all and are never swapped.

use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore as _,
    ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};

use crate::error::is_no_answer;
use crate::key::{path_of, prefix_of};
use crate::retry::Attempts;
use crate::{AsKey, Error, Store};

/// What is known of an object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes.
    pub size: u64,
    /// What names its content.
    pub etag: String,
    /// The storage's stamp.
    pub last_modified: DateTime<Utc>,
    /// What the sender said that the content hashes to, where the home keeps it beside the object: a bucket does
    /// not check it for what came in parts. Whoever reads the whole content compares.
    pub declared_sha256: Option<String>,
}

/// An object with all its bytes, of the same moment as its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What is known of it.
    pub head: Head,
    /// Its content.
    pub bytes: Bytes,
}

/// What [`Store::get_wanted`] read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing but what is known of it.
    HeadOnly(Head),
    /// All of it.
    Whole(Object),
}

/// The bytes of an object as they come.
pub type ObjectStream = BoxStream<'static, Result<Bytes, Error>>;

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its full key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// What names its content. `None` for documents of a folder, whose ETag would cost reading each:
    /// ask [`Store::head`].
    pub etag: Option<String>,
    /// The storage's stamp.
    pub last_modified: DateTime<Utc>,
}

/// What lies directly under a prefix, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Prefixes one segment longer that hold objects, without a slash at the end.
    pub dirs: Vec<String>,
    /// The objects one segment below.
    pub objects: Vec<Listed>,
}

/// What may happen to an object that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is replaced.
    Overwrite,
    /// It stays, and the put fails with [`Error::Exists`].
    Create,
    /// It stays, and the put fails unless it has the same length: for keys that are named by their
    /// content or are a pure function of the input.
    IfSame,
}

impl Put {
    pub(crate) fn mode(self) -> PutMode {
        match self {
            Self::Overwrite => PutMode::Overwrite,
            Self::Create | Self::IfSame => PutMode::Create,
        }
    }
}

/// How a put ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The bytes were stored by this call.
    New,
    /// They were there already ([`Put::IfSame`]).
    AlreadyThere,
}

impl Store {
    /// Stores bytes under a key.
    ///
    /// When an answer is lost the write is repeated, and an object found then counts as ours if its bytes are equal.
    pub async fn put_bytes(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        bytes: impl Into<Bytes> + Send,
        put: Put,
    ) -> Result<Written, Error> {
        self.put_at(&path_of(key)?, bytes.into(), put).await
    }

    pub(crate) async fn put_at(
        &self,
        path: &Path,
        bytes: Bytes,
        put: Put,
    ) -> Result<Written, Error> {
        let mut attempts = Attempts::default();
        let mut may_be_ours = false;
        loop {
            let payload = PutPayload::from_bytes(bytes.clone());
            let options = PutOptions::from(put.mode());
            let error = match self.objects.put_opts(path, payload, options).await {
                Ok(_) => return Ok(Written::New),
                Err(object_store::Error::AlreadyExists { .. }) if put != Put::Overwrite => {
                    match self.judge_existing(path, &bytes, put, may_be_ours).await {
                        Err(error) if error.is_transient() || error.is_not_found() => error,
                        judged => return judged,
                    }
                }
                Err(error) if is_no_answer(&error) => {
                    may_be_ours = true;
                    Error::of(path.as_ref(), error)
                }
                Err(error) => return Err(Error::of(path.as_ref(), error)),
            };
            attempts.failed(error);
            if let Some(error) = attempts.exhausted(path.as_ref()) {
                return Err(error);
            }
            attempts.pause(&self.chance).await;
        }
    }

    /// What an object in the way of a create means.
    async fn judge_existing(
        &self,
        path: &Path,
        bytes: &Bytes,
        put: Put,
        may_be_ours: bool,
    ) -> Result<Written, Error> {
        if may_be_ours && self.get_at(path).await?.bytes == bytes {
            return Ok(Written::New);
        }
        self.judge_length(path, bytes.len() as u64, put).await
    }

    /// What an object in the way of a create of `size` bytes means.
    pub(crate) async fn judge_length(
        &self,
        path: &Path,
        size: u64,
        put: Put,
    ) -> Result<Written, Error> {
        if put == Put::IfSame {
            let meta = self.objects.head(path).await;
            let meta = meta.map_err(|error| Error::of(path.as_ref(), error))?;
            if meta.size == size {
                return Ok(Written::AlreadyThere);
            }
        }
        Err(Error::Exists {
            key: path.to_string(),
        })
    }

    /// Reads an object whole.
    pub async fn get(&self, key: &(impl AsKey + ?Sized + Sync)) -> Result<Object, Error> {
        self.get_at(&path_of(key)?).await
    }

    /// Reads an object in one request, its bytes only when `wants` them, judged by the head. `None`: there is none.
    pub async fn get_wanted(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        wants: impl FnOnce(&Head) -> bool + Send,
    ) -> Result<Option<Wanted>, Error> {
        let path = path_of(key)?;
        let result = match self.objects.get_opts(&path, GetOptions::new()).await {
            Ok(result) => result,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::of(path.as_ref(), error)),
        };
        let head = head_of(&result);
        if !wants(&head) {
            return Ok(Some(Wanted::HeadOnly(head)));
        }
        let bytes = result.bytes().await;
        let bytes = bytes.map_err(|error| Error::of(path.as_ref(), error))?;
        Ok(Some(Wanted::Whole(Object { head, bytes })))
    }

    /// Reads the bytes of an object.
    pub async fn get_bytes(&self, key: &(impl AsKey + ?Sized + Sync)) -> Result<Bytes, Error> {
        Ok(self.get(key).await?.bytes)
    }

    /// Reads a range of an object. One that ends behind the object is cut; one that starts there is an error.
    pub async fn get_range(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let path = path_of(key)?;
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range)));
        let result = self.objects.get_opts(&path, options).await;
        collected(&path, result).await
    }

    /// Reads several ranges of an object, in the order given; near ones are fetched together.
    pub async fn get_ranges(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, Error> {
        let path = path_of(key)?;
        let result = self.objects.get_ranges(&path, ranges).await;
        result.map_err(|error| Error::of(path.as_ref(), error))
    }

    /// Reads an object as a stream, in constant memory.
    pub async fn get_stream(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
    ) -> Result<(Head, ObjectStream), Error> {
        let path = path_of(key)?;
        let result = self.objects.get_opts(&path, GetOptions::new()).await;
        let result = result.map_err(|error| Error::of(path.as_ref(), error))?;
        let head = head_of(&result);
        let stream = result
            .into_stream()
            .map_err(move |error| Error::of(path.as_ref(), error));
        Ok((head, stream.boxed()))
    }

    /// What is known of an object, `None` when there is none.
    pub async fn head(&self, key: &(impl AsKey + ?Sized + Sync)) -> Result<Option<Head>, Error> {
        let path = path_of(key)?;
        // Not `head` of the object store, which drops the attributes of the same answer.
        let options = GetOptions::new().with_head(true);
        match self.objects.get_opts(&path, options).await {
            Ok(result) => Ok(Some(head_of(&result))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::of(path.as_ref(), error)),
        }
    }

    /// Every object below a prefix of whole segments, in the byte order of the keys. The empty prefix is everything.
    ///
    /// What is created or deleted meanwhile may be missing or shown; everything else is shown once.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Listed, Error>> {
        self.list_inner(prefix, None)
    }

    /// As [`list`](Self::list), only keys behind `offset`, which need not exist.
    pub fn list_from(
        &self,
        prefix: &str,
        offset: &str,
    ) -> BoxStream<'static, Result<Listed, Error>> {
        self.list_inner(prefix, Some(offset))
    }

    fn list_inner(
        &self,
        prefix: &str,
        offset: Option<&str>,
    ) -> BoxStream<'static, Result<Listed, Error>> {
        let paths =
            prefix_of(prefix).and_then(|prefix| Ok((prefix, offset.map(prefix_of).transpose()?)));
        let (path, offset) = match paths {
            Ok(paths) => paths,
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        };
        let objects = match &offset {
            None => self.objects.list(Some(&path)),
            Some(offset) => self.objects.list_with_offset(Some(&path), offset),
        };
        objects
            .map_ok(listed)
            .map_err(move |error| Error::of(path.as_ref(), error))
            .boxed()
    }

    /// What lies directly under a prefix.
    pub async fn list_level(&self, prefix: &str) -> Result<Level, Error> {
        let path = prefix_of(prefix)?;
        let result = self.objects.list_with_delimiter(Some(&path)).await;
        let result = result.map_err(|error| Error::of(path.as_ref(), error))?;
        let mut dirs: Vec<String> = result.common_prefixes.into_iter().map(Into::into).collect();
        // The order of their keys, as S3 has it: a prefix stands where its slash does.
        dirs.sort_unstable_by(|a, b| slashed(a).cmp(slashed(b)));
        Ok(Level {
            dirs,
            objects: result.objects.into_iter().map(listed).collect(),
        })
    }

    /// The prefixes directly under a prefix that hold objects, without a slash at the end, in key order.
    pub async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>, Error> {
        Ok(self.list_level(prefix).await?.dirs)
    }

    /// Deletes an object. One that is not there is deleted already.
    pub async fn delete(&self, key: &(impl AsKey + ?Sized + Sync)) -> Result<(), Error> {
        let path = path_of(key)?;
        match self.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::of(path.as_ref(), error)),
        }
    }

    async fn get_at(&self, path: &Path) -> Result<Object, Error> {
        let result = self.objects.get_opts(path, GetOptions::new()).await;
        let result = result.map_err(|error| Error::of(path.as_ref(), error))?;
        let head = head_of(&result);
        let bytes = result.bytes().await;
        let bytes = bytes.map_err(|error| Error::of(path.as_ref(), error))?;
        Ok(Object { head, bytes })
    }
}

async fn collected(
    path: &Path,
    result: Result<GetResult, object_store::Error>,
) -> Result<Bytes, Error> {
    let bytes = match result {
        Ok(result) => result.bytes().await,
        Err(error) => Err(error),
    };
    bytes.map_err(|error| Error::of(path.as_ref(), error))
}

fn head_of(result: &GetResult) -> Head {
    let meta = &result.meta;
    Head {
        size: meta.size,
        etag: meta.e_tag.clone().unwrap_or_default(),
        last_modified: meta.last_modified,
        declared_sha256: declared_sha256(&result.attributes),
    }
}

/// The name of the metadata field in which uploads carry the hash of their whole content: `x-amz-meta-sha256`.
pub(crate) const SHA256_FIELD: &str = "sha256";

fn declared_sha256(attributes: &Attributes) -> Option<String> {
    let declared = attributes.get(&Attribute::Metadata(SHA256_FIELD.into()))?;
    Some(declared.as_ref().to_ascii_lowercase())
}

fn listed(meta: ObjectMeta) -> Listed {
    Listed {
        key: meta.location.into(),
        size: meta.size,
        etag: meta.e_tag,
        last_modified: meta.last_modified,
    }
}

fn slashed(dir: &str) -> impl Iterator<Item = u8> {
    dir.bytes().chain([b'/'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::put_declaring;

    #[tokio::test]
    async fn a_declared_sha256_comes_with_head_and_content() {
        let store = Store::memory();
        put_declaring(&store, "x/declared", "x", "0A").await;
        store.put_bytes("x/plain", "x", Put::Create).await.unwrap();

        let declared = Some("0a".to_owned());
        let head = store.head("x/declared").await.unwrap().unwrap();
        assert_eq!(head.declared_sha256, declared);
        let (streamed, _) = store.get_stream("x/declared").await.unwrap();
        assert_eq!(streamed.declared_sha256, declared);
        let object = store.get("x/declared").await.unwrap();
        assert_eq!(object.head, head);
        let plain = store.head("x/plain").await.unwrap().unwrap();
        assert_eq!(plain.declared_sha256, None);
    }
}
