//! Uploads in parts, into one staged file.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::etag;
use super::failure::{blocking, failed};
use super::root::Root;
use super::staged::{Publish, Staged};
use super::store::publish;

/// An upload in parts. The staged file goes with it when it is dropped.
#[derive(Debug)]
pub(super) struct FolderUpload {
    root: Arc<Root>,
    key: Path,
    how: Publish,
    /// Where the next part starts.
    end: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    Open(Staged),
    /// A part failed or the upload ended: the file is gone.
    Ended,
}

impl FolderUpload {
    pub(super) fn new(root: Arc<Root>, key: Path, how: Publish, staged: Staged) -> Self {
        Self {
            root,
            key,
            how,
            end: 0,
            state: Arc::new(Mutex::new(State::Open(staged))),
        }
    }
}

/// Writes one part at its place, so that parts may be awaited in any order.
fn write_part(state: &Mutex<State>, key: &Path, start: u64, data: &PutPayload) -> Result<()> {
    use std::os::unix::fs::FileExt as _;

    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let State::Open(staged) = &*state else {
        return Err(ended(key));
    };
    let mut at = start;
    for bytes in data {
        if let Err(error) = staged.file.write_all_at(bytes, at) {
            *state = State::Ended;
            return Err(failed("write part of", key.as_ref(), key.as_ref().as_ref())(error));
        }
        at += bytes.len() as u64;
    }
    Ok(())
}

fn ended(key: &Path) -> Error {
    Error::NotSupported {
        source: format!("the upload of `{key}` has ended").into(),
    }
}

#[async_trait]
impl MultipartUpload for FolderUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let start = self.end;
        self.end += data.content_length() as u64;
        let (state, key) = (Arc::clone(&self.state), self.key.clone());
        Box::pin(blocking(move || write_part(&state, &key, start, &data)))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (state, key) = (Arc::clone(&self.state), self.key.clone());
        let (root, how) = (Arc::clone(&self.root), self.how);
        blocking(move || {
            let taken = {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *state, State::Ended)
            };
            let State::Open(mut staged) = taken else {
                return Err(ended(&key));
            };
            let metadata = staged.file.metadata();
            let metadata = metadata.map_err(failed("inspect", key.as_ref(), &root.path))?;
            let e_tag = if etag::is_document(key.as_ref(), metadata.len()) {
                let hashed = etag::of_file(&mut staged.file);
                hashed.map_err(failed("read", key.as_ref(), &root.path))?
            } else {
                etag::of_stat(&metadata)
            };
            publish(&root, &key, staged, how)?;
            Ok(PutResult {
                e_tag: Some(e_tag),
                version: None,
                extensions: object_store::Extensions::default(),
            })
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        let state = Arc::clone(&self.state);
        blocking(move || {
            *state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ended;
            Ok(())
        })
        .await
    }
}
