//! The handle that everything else holds.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use object_store::ObjectStore;

use crate::calls::{Calls, Counted};
use crate::chance::Chance;
use crate::clock::{Clock, GivenClock};
use crate::folder::FolderStore;
use crate::{Error, MemoryStore};

/// One bucket or folder. Cloning is cheap and every clone is the same store.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    clock: Clock,
    pub(crate) chance: Chance,
    root: Option<Arc<FsPath>>,
    calls: Arc<Calls>,
}

impl Store {
    /// Opens the store that a URL names: `memory://` (a new, empty one), `file:///absolute/root` or, with the
    /// feature `aws`, `s3://bucket`, which must be there.
    ///
    /// In a `file` URL percent-escapes are decoded, as everywhere. A root that does not exist is made.
    pub async fn open(url: &str) -> Result<Self, Error> {
        match Location::parse(url).map_err(|reason| Error::Open {
            url: url.to_owned(),
            source: reason.into(),
        })? {
            Location::Memory => Ok(Self::memory()),
            Location::Folder(root) => Self::open_folder(&root).await,
            #[cfg(feature = "aws")]
            Location::Bucket(bucket) => Self::open_bucket(&bucket).await,
            #[cfg(not(feature = "aws"))]
            Location::Bucket(_) => Err(Error::Open {
                url: url.to_owned(),
                source: "this program was built without S3".into(),
            }),
        }
    }

    /// Opens a bucket of S3, which must be there: region, credentials and endpoint are taken from the environment.
    #[cfg(feature = "aws")]
    pub async fn open_bucket(bucket: &str) -> Result<Self, Error> {
        let failed = |source| Error::Open {
            url: format!("s3://{bucket}"),
            source,
        };
        let config = cellmill_aws::load().await;
        let (objects, clock) = crate::s3::open(bucket, &config).map_err(failed)?;
        objects.check().await.map_err(|it| failed(it.into()))?;
        Ok(Self::of(Arc::new(objects), Clock::Storage(clock)))
    }

    /// Opens the folder `root`, which must be on a local disk and writable, making it if it is not there.
    pub async fn open_folder(root: &FsPath) -> Result<Self, Error> {
        let folder = FolderStore::open(root)
            .await
            .map_err(|source| Error::Open {
                url: root.display().to_string(),
                source: source.into(),
            })?;
        let root: Arc<FsPath> = folder.root().into();
        Ok(Self {
            root: Some(root),
            ..Self::of(Arc::new(folder), Clock::System)
        })
    }

    /// A new, empty store that lives as long as its handles.
    pub fn memory() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// A new, empty store whose stamps `clock` makes, with pauses and ids drawn from `seed`: nothing about it comes
    /// from this machine, so that what happens over it can be repeated.
    pub fn memory_at(clock: GivenClock, seed: u64) -> Self {
        let objects = MemoryStore::stamped_by(Arc::clone(&clock));
        Self {
            chance: Chance::seeded(seed),
            ..Self::of(Arc::new(objects), Clock::Given(clock))
        }
    }

    /// The same store as a machine sees it that has its own idea of the store's time, and its own chance.
    #[must_use]
    pub fn seen_by(&self, clock: GivenClock, seed: u64) -> Self {
        Self {
            clock: Clock::Given(clock),
            chance: Chance::seeded(seed),
            ..self.clone()
        }
    }

    /// A store over any object store whose stamps are made by this machine's clock.
    ///
    /// The object store must honour [`CreateOnly`](crate::CreateOnly) in multipart uploads, as those of this crate do.
    pub fn over(objects: Arc<dyn ObjectStore>) -> Self {
        Self::of(objects, Clock::System)
    }

    fn of(objects: Arc<dyn ObjectStore>, clock: Clock) -> Self {
        let (objects, calls) = Counted::over(objects);
        Self {
            objects,
            clock,
            chance: Chance::System,
            root: None,
            calls,
        }
    }

    /// The same store with its objects wrapped, as the fault layer does.
    #[must_use]
    pub fn wrapped(&self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self {
            objects: wrap(Arc::clone(&self.objects)),
            ..self.clone()
        }
    }

    /// The store's time: what a stamp made now would say.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// An id that nothing else has, whose beginning is the store's time.
    pub fn fresh_id(&self) -> ulid::Ulid {
        self.chance.ulid(self.now())
    }

    /// How often this store was called, by this handle and its clones.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Whether objects keep what their sender declared of them ([`Head::declared_sha256`](crate::Head)): so that
    /// what came through a signed URL is told from what was copied in. A folder's files keep nothing but bytes.
    pub fn keeps_declarations(&self) -> bool {
        self.root.is_none()
    }

    /// The folder, when the home is one: canonical, for what must live beside the objects
    /// (the queue file, the secret) and for watching.
    pub fn root(&self) -> Option<&FsPath> {
        self.root.as_deref()
    }
}

/// What a storage URL names.
#[derive(Debug, PartialEq, Eq)]
enum Location {
    Memory,
    Folder(PathBuf),
    Bucket(String),
}

impl Location {
    fn parse(url: &str) -> Result<Self, String> {
        if url == "memory://" || url == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(bucket) = url.strip_prefix("s3://") {
            return match bucket.strip_suffix('/').unwrap_or(bucket) {
                "" => Err("a bucket is named as in `s3://bucket`".to_owned()),
                bucket if bucket.contains('/') => Err(format!(
                    "a bucket is Cellmill's alone: `s3://{bucket}` names a folder in it"
                )),
                bucket => Ok(Self::Bucket(bucket.to_owned())),
            };
        }
        let Some(rest) = url.strip_prefix("file://") else {
            return Err(
                "a storage URL is `file:///absolute/root`, `s3://bucket` or `memory://`".to_owned(),
            );
        };
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(format!(
                "a folder is given as an absolute path, `file:///{path}`"
            ));
        }
        let path = percent_encoding::percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| "the path is not UTF-8 once its percent-escapes are decoded".to_owned())?;
        Ok(Self::Folder(PathBuf::from(path.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_memory_or_an_absolute_folder() {
        let folder = |path: &str| Ok(Location::Folder(PathBuf::from(path)));
        assert_eq!(Location::parse("memory://"), Ok(Location::Memory));
        assert_eq!(Location::parse("file:///data/lab"), folder("/data/lab"));
        assert_eq!(Location::parse("file://localhost/data"), folder("/data"));
        assert_eq!(Location::parse("file:///a%20b/%25"), folder("/a b/%"));
        assert_eq!(Location::parse("file:///病例 1"), folder("/病例 1"));
        let bucket = || Ok(Location::Bucket("cells".to_owned()));
        assert_eq!(Location::parse("s3://cells"), bucket());
        assert_eq!(Location::parse("s3://cells/"), bucket());
        for refused in [
            "",
            "/data",
            "file://data",
            "s3://",
            "s3://bucket/folder",
            "file:///%FF",
        ] {
            assert!(Location::parse(refused).is_err(), "{refused}");
        }
    }
}
