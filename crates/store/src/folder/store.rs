//! The object store over a root.

use std::fmt::{Display, Formatter};
use std::io::ErrorKind;
use std::path::Path as FsPath;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result, UpdateVersion,
};

use super::etag;
use super::failure::{Rule, blocking, failed};
use super::read;
use super::root::{OpenError, Root};
use super::staged::{Publish, Staged, place, sync_folder_of};
use super::upload::FolderUpload;
use super::walk::{self, Walk};
use crate::CreateOnly;

/// Objects of one step of a listing: few enough for constant memory, enough to make the hop between threads cheap.
const LIST_BATCH: usize = 512;

/// An object store over a folder. Cloning is cheap.
///
/// Attributes and tags of a put are not kept. Deleting what is not there succeeds, as in S3.
#[derive(Clone, Debug)]
pub struct FolderStore {
    root: Arc<Root>,
}

impl FolderStore {
    /// Opens `root`, making it if it is not there.
    pub async fn open(root: &FsPath) -> Result<Self, OpenError> {
        let path = root.to_owned();
        let opened = tokio::task::spawn_blocking(move || Root::open(&path)).await;
        match opened {
            Ok(root) => Ok(Self {
                root: Arc::new(root?),
            }),
            Err(join) => Err(OpenError::NotWritable {
                root: root.display().to_string(),
                source: join.into(),
            }),
        }
    }

    /// The canonical path of the root.
    pub fn root(&self) -> &FsPath {
        &self.root.path
    }

    fn walk(
        &self,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let root = Arc::clone(&self.root);
        let prefix = prefix.cloned().unwrap_or_default();
        let after = after.map(ToString::to_string);
        let start = blocking(move || Walk::new(root, &prefix, after));
        stream::once(start)
            .map_ok(|walk| stream::try_unfold(Some(walk), next_batch).try_flatten())
            .try_flatten()
            .boxed()
    }
}

type Batch = stream::Iter<std::vec::IntoIter<Result<ObjectMeta>>>;

async fn next_batch(walk: Option<Walk>) -> Result<Option<(Batch, Option<Walk>)>> {
    let Some(mut walk) = walk else {
        return Ok(None);
    };
    blocking(move || {
        let batch = walk.take(LIST_BATCH)?;
        let rest = (batch.len() == LIST_BATCH).then_some(walk);
        let batch: Vec<_> = batch.into_iter().map(Ok).collect();
        Ok(Some((stream::iter(batch), rest)))
    })
    .await
}

/// Makes a staged file the object `key`, under the lock of the key where the key may be swapped. Blocking.
pub(super) fn publish(root: &Root, key: &Path, staged: Staged, how: Publish) -> Result<()> {
    let to = root.writable_file(key)?;
    staged.sync(key.as_ref())?;
    // A create needs no lock: it only takes a free name, and a swap only one that is not free.
    let _held = match how {
        Publish::Replace if etag::names_document(key.as_ref()) => {
            let held = root.locks.lock(key.as_ref());
            Some(held.map_err(failed("lock", key.as_ref(), &to))?)
        }
        _ => None,
    };
    staged.publish(root, key.as_ref(), &to, how)
}

/// Replaces a document that is still the version `expected`. Blocking.
fn update(root: &Root, key: &Path, staged: Staged, expected: &UpdateVersion) -> Result<()> {
    let to = root.writable_file(key)?;
    staged.sync(key.as_ref())?;
    let held = root.locks.lock(key.as_ref());
    let _held = held.map_err(failed("lock", key.as_ref(), &to))?;
    let stored = read::document_etag(root, key)?.ok_or_else(|| Error::NotFound {
        path: key.to_string(),
        source: "nothing to update".into(),
    })?;
    if expected.e_tag.as_deref() != Some(stored.as_str()) {
        return Err(Error::Precondition {
            path: key.to_string(),
            source: format!("the stored version is {stored}").into(),
        });
    }
    staged.publish(root, key.as_ref(), &to, Publish::Replace)
}

fn put(root: &Root, key: &Path, payload: &PutPayload, mode: PutMode) -> Result<PutResult> {
    let size = payload.content_length() as u64;
    let is_document = etag::is_document(key.as_ref(), size);
    if matches!(mode, PutMode::Update(_)) && !is_document {
        let limit = etag::MAX_DOCUMENT;
        return Err(Rule::NotADocument { limit }.into());
    }
    // Refuse before anything is written; it is judged once more at the end.
    root.writable_file(key)?;
    let staged = Staged::with_payload(root, key.as_ref(), payload)?;
    let e_tag = if is_document {
        etag::of_payload(payload)
    } else {
        let metadata = staged.file.metadata();
        etag::of_stat(&metadata.map_err(failed("inspect", key.as_ref(), &root.path))?)
    };
    match mode {
        PutMode::Create => publish(root, key, staged, Publish::Create)?,
        PutMode::Overwrite => publish(root, key, staged, Publish::Replace)?,
        PutMode::Update(expected) => update(root, key, staged, &expected)?,
    }
    Ok(PutResult {
        e_tag: Some(e_tag),
        version: None,
        extensions: object_store::Extensions::default(),
    })
}

fn delete(root: &Root, key: &Path) -> Result<()> {
    let Some(file) = root.visible_file(key)? else {
        return Ok(());
    };
    let _held = if etag::names_document(key.as_ref()) {
        let held = root.locks.lock(key.as_ref());
        Some(held.map_err(failed("lock", key.as_ref(), &file))?)
    } else {
        None
    };
    match std::fs::remove_file(&file) {
        Ok(()) => sync_folder_of(key.as_ref(), &file),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("delete", key.as_ref(), &file)(error)),
    }
}

fn source_file(root: &Root, from: &Path) -> Result<std::path::PathBuf> {
    root.visible_file(from)?.ok_or_else(|| Error::NotFound {
        path: from.to_string(),
        source: "no such file".into(),
    })
}

/// Copies the bytes rather than linking the file: a person who edits one of two linked files edits both.
fn copy(root: &Root, from: &Path, to: &Path, mode: CopyMode) -> Result<()> {
    let source = source_file(root, from)?;
    root.writable_file(to)?;
    let mut staged = Staged::create(root, to.as_ref())?;
    let copied = std::fs::File::open(&source)
        .and_then(|mut source| std::io::copy(&mut source, &mut staged.file));
    copied.map_err(failed("copy", from.as_ref(), &source))?;
    let how = match mode {
        CopyMode::Create => Publish::Create,
        CopyMode::Overwrite => Publish::Replace,
    };
    publish(root, to, staged, how)
}

fn move_file(root: &Root, from: &Path, to: &Path, mode: RenameTargetMode) -> Result<()> {
    let held = root.locks.lock_both(from.as_ref(), to.as_ref());
    let _held = held.map_err(failed("lock", to.as_ref(), &root.path))?;
    let source = source_file(root, from)?;
    let target = root.writable_file(to)?;
    match mode {
        RenameTargetMode::Overwrite => {
            place(root, to.as_ref(), &source, &target, Publish::Replace)?;
        }
        RenameTargetMode::Create => {
            place(root, to.as_ref(), &source, &target, Publish::Create)?;
            let removed = std::fs::remove_file(&source);
            removed.map_err(failed("remove", from.as_ref(), &source))?;
        }
    }
    sync_folder_of(to.as_ref(), &target)?;
    sync_folder_of(from.as_ref(), &source)
}

impl Display for FolderStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "folder {}", self.root.path.display())
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let (root, key) = (Arc::clone(&self.root), location.clone());
        blocking(move || put(&root, &key, &payload, opts.mode)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (root, key) = (Arc::clone(&self.root), location.clone());
        let how = match opts.extensions.get::<CreateOnly>() {
            Some(CreateOnly) => Publish::Create,
            None => Publish::Replace,
        };
        blocking(move || {
            root.writable_file(&key)?;
            let staged = Staged::create(&root, key.as_ref())?;
            let upload: Box<dyn MultipartUpload> =
                Box::new(FolderUpload::new(root, key, how, staged));
            Ok(upload)
        })
        .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (root, key) = (Arc::clone(&self.root), location.clone());
        blocking(move || read::get(&root, &key, &options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let root = Arc::clone(&self.root);
        locations
            .map(move |location| {
                let root = Arc::clone(&root);
                async move {
                    let key = location?;
                    let deleted = key.clone();
                    blocking(move || delete(&root, &key)).await?;
                    Ok(deleted)
                }
            })
            .buffered(10)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Arc::clone(&self.root);
        let prefix = prefix.cloned().unwrap_or_default();
        let (objects, common_prefixes) = blocking(move || walk::level(&root, &prefix)).await?;
        Ok(ListResult {
            common_prefixes,
            objects,
            extensions: object_store::Extensions::default(),
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let root = Arc::clone(&self.root);
        let (from, to) = (from.clone(), to.clone());
        blocking(move || copy(&root, &from, &to, options.mode)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let root = Arc::clone(&self.root);
        let (from, to) = (from.clone(), to.clone());
        blocking(move || move_file(&root, &from, &to, options.target_mode)).await
    }
}
