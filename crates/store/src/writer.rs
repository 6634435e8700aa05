//! Big files, written in constant memory and visible only when they are whole.

use bytes::BytesMut;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore as _, PutMultipartOptions, PutPayload};

use crate::key::path_of;
use crate::{AsKey, Error, Put, Store, Written};

/// Asks a multipart upload, as an extension of its options, not to replace an object on completion.
///
/// `object_store` has no mode for multipart uploads; the stores of this crate honour this one and
/// complete with `AlreadyExists`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateOnly;

/// Bytes held back before they are sent: above the least part of S3 (5 MiB), and what fits goes as one put.
const PART: usize = 8 << 20;

/// Writes one object piece by piece. Nothing is visible before [`finish`](Self::finish), and nothing
/// stays when the writer is dropped or [aborted](Self::abort).
#[derive(Debug)]
pub struct ObjectWriter {
    store: Store,
    path: Path,
    put: Put,
    buffer: BytesMut,
    written: u64,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl Store {
    /// Starts writing an object.
    pub fn writer(
        &self,
        key: &(impl AsKey + ?Sized + Sync),
        put: Put,
    ) -> Result<ObjectWriter, Error> {
        Ok(ObjectWriter {
            store: self.clone(),
            path: path_of(key)?,
            put,
            buffer: BytesMut::new(),
            written: 0,
            upload: None,
        })
    }
}

impl ObjectWriter {
    /// Appends bytes. After an error the object cannot be finished; drop the writer.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        while self.buffer.len() + bytes.len() > PART {
            let (head, rest) = bytes.split_at(PART - self.buffer.len());
            self.buffer.extend_from_slice(head);
            bytes = rest;
            self.send_part().await?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes were appended so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the object visible.
    pub async fn finish(mut self) -> Result<Written, Error> {
        if self.upload.is_none() {
            let bytes = self.buffer.split().freeze();
            return self.store.put_at(&self.path, bytes, self.put).await;
        }
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        let upload = self.upload.as_mut().expect("checked at the start");
        match upload.complete().await {
            Ok(_) => Ok(Written::New),
            Err(object_store::Error::AlreadyExists { .. }) => {
                self.store
                    .judge_length(&self.path, self.written, self.put)
                    .await
            }
            Err(error) => Err(Error::of(self.path.as_ref(), error)),
        }
    }

    /// Throws away what was written.
    pub async fn abort(mut self) -> Result<(), Error> {
        if let Some(upload) = &mut self.upload {
            let aborted = upload.abort().await;
            return aborted.map_err(|error| Error::of(self.path.as_ref(), error));
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        let part = PutPayload::from_bytes(self.buffer.split().freeze());
        let upload = match self.upload.take() {
            Some(upload) => upload,
            None => start_upload(&self.store, &self.path, self.put).await?,
        };
        let sent = self.upload.insert(upload).put_part(part).await;
        sent.map_err(|error| Error::of(self.path.as_ref(), error))
    }
}

async fn start_upload(
    store: &Store,
    path: &Path,
    put: Put,
) -> Result<Box<dyn MultipartUpload>, Error> {
    let mut options = PutMultipartOptions::default();
    if put != Put::Overwrite {
        options.extensions.insert(CreateOnly);
    }
    let started = store.objects.put_multipart_opts(path, options).await;
    started.map_err(|error| Error::of(path.as_ref(), error))
}
