//! Reading objects of a folder.

use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, GetResultPayload, ObjectMeta, Result};

use super::etag;
use super::failure::{blocking, failed};
use super::root::Root;

/// Up to here one read answers: a photograph comes without being copied together from chunks.
const WHOLE: u64 = 8 << 20;

/// Bytes of one chunk of a longer answer.
const CHUNK: u64 = 1 << 20;

/// A file opened for reading.
#[derive(Debug)]
struct Source {
    key: Path,
    path: PathBuf,
    file: File,
}

/// Opens an object and answers a GET or HEAD. Blocking.
pub(super) fn get(root: &Root, key: &Path, options: &GetOptions) -> Result<GetResult> {
    let mut source = Source::open(root, key)?;
    let metadata = source.file.metadata();
    let metadata = metadata.map_err(failed("inspect", key.as_ref(), &source.path))?;
    let is_document = etag::is_document(key.as_ref(), metadata.len());
    // The content that is hashed is the content that is answered, also when a person writes into the file.
    let document = match (is_document, options.head) {
        (true, false) => Some(source.read(0..metadata.len())?),
        _ => None,
    };
    let etag = match &document {
        Some(bytes) => etag::of_bytes(bytes),
        None if is_document => source.content_etag()?,
        None => etag::of_stat(&metadata),
    };
    let meta = meta_of(key.clone(), &metadata, Some(etag));
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        None => 0..meta.size,
        Some(range) => range
            .as_range(meta.size)
            .map_err(|source| Error::NotSupported {
                source: source.into(),
            })?,
    };
    let payload = if options.head {
        stream::empty().boxed()
    } else if let Some(bytes) = document {
        once(bytes.slice(range.start as usize..range.end as usize))
    } else if range.end - range.start <= WHOLE {
        once(source.read(range.clone())?)
    } else {
        source.chunks(range.clone())
    };
    Ok(GetResult {
        payload: GetResultPayload::Stream(payload),
        meta,
        range,
        attributes: object_store::Attributes::default(),
        extensions: object_store::Extensions::default(),
    })
}

/// The ETag of a document that is stored, `None` when there is none. Blocking.
pub(super) fn document_etag(root: &Root, key: &Path) -> Result<Option<String>> {
    match Source::open(root, key) {
        Ok(mut source) => source.content_etag().map(Some),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An object as it is shown.
pub(super) fn meta_of(key: Path, metadata: &Metadata, etag: Option<String>) -> ObjectMeta {
    ObjectMeta {
        location: key,
        // Every disk we take stamps its files; where one does not, the epoch is old enough for any lease.
        last_modified: metadata
            .modified()
            .map_or(DateTime::<Utc>::UNIX_EPOCH, DateTime::<Utc>::from),
        size: metadata.len(),
        e_tag: etag,
        version: None,
    }
}

impl Source {
    fn open(root: &Root, key: &Path) -> Result<Self> {
        let path = root.visible_file(key)?.ok_or_else(|| Error::NotFound {
            path: key.to_string(),
            source: "no such file".into(),
        })?;
        let file = File::open(&path).map_err(failed("open", key.as_ref(), &path))?;
        Ok(Self {
            key: key.clone(),
            path,
            file,
        })
    }

    fn content_etag(&mut self) -> Result<String> {
        etag::of_file(&mut self.file).map_err(failed("read", self.key.as_ref(), &self.path))
    }

    /// The bytes of a range. A file that a person shortened meanwhile gives an error, not fewer bytes.
    fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = self
            .file
            .seek(SeekFrom::Start(range.start))
            .and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(failed("read", self.key.as_ref(), &self.path))?;
        Ok(bytes.into())
    }

    fn chunks(self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold((self, range), |(mut source, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let end = range.end.min(range.start + CHUNK);
            let (source, bytes) = blocking(move || {
                let bytes = source.read(range.start..end)?;
                Ok((source, bytes))
            })
            .await?;
            Ok(Some((bytes, (source, end..range.end))))
        })
        .boxed()
    }
}

fn once(bytes: Bytes) -> BoxStream<'static, Result<Bytes>> {
    stream::iter([Ok(bytes)]).boxed()
}
