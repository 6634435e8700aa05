//! The home of everything, for the commands that read it themselves: a root folder, or a bucket and its queues.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cellmill_queue::Queue;
use cellmill_service::Settings;
use cellmill_store::Store;
use cellmill_store::presign::{S3Uploads, S3Versions};
use cellmill_store::uploads::{PartUploads, Signer, StagedParts};
use cellmill_store::versions::PurgeVersions;

use crate::cli::Error;

/// Where everything is kept when nobody says so.
const DEFAULT_ROOT: &str = "./cellmill-data";

/// Where everything is kept
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct HomeArgs {
    /// The root folder of a standalone server [default: ./cellmill-data, unless the settings name a home]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["store", "queue"])]
    pub(crate) root: Option<PathBuf>,
    /// On AWS, the bucket: `s3://bucket`; instead of a root folder. The setting `CELLMILL_STORE` when left out
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// On AWS, the queues: `sqs://stack`; instead of those in the root folder. The setting `CELLMILL_QUEUE` when
    /// left out
    #[arg(long, value_name = "URL")]
    pub(crate) queue: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NamedStore {
    /// It must be there.
    Folder(PathBuf),
    Url(String),
}

/// The home that arguments and settings name together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    store: NamedStore,
    queue: Option<String>,
}

impl HomeArgs {
    /// What the command line says goes before the settings, and a folder has its queues in itself.
    fn named(&self, settings: &Settings) -> Named {
        if let Some(root) = &self.root {
            return Named {
                store: NamedStore::Folder(root.clone()),
                queue: None,
            };
        }
        let store = self.store.as_ref().or(settings.store.as_ref());
        Named {
            store: match store {
                Some(url) => NamedStore::Url(url.clone()),
                None => NamedStore::Folder(DEFAULT_ROOT.into()),
            },
            queue: self.queue.as_ref().or(settings.queue.as_ref()).cloned(),
        }
    }

    /// The store and its queues.
    pub(crate) async fn open(&self, settings: &Settings) -> Result<(Store, Arc<dyn Queue>), Error> {
        let named = self.named(settings);
        if let (NamedStore::Folder(root), Some(queue)) = (&named.store, &named.queue) {
            return Err(Error::Usage {
                what: format!(
                    "queues `{queue}` are named and no storage, `{}` has queues of its own",
                    root.display()
                ),
                hint: Some("name the storage as well: `--store s3://bucket`".to_owned()),
            });
        }
        let store = open_store(&named).await?;
        let queue = open_queue(&named, &store)?;
        Ok((store, queue))
    }

    /// The store alone.
    pub(crate) async fn open_store(&self, settings: &Settings) -> Result<Store, Error> {
        open_store(&self.named(settings)).await
    }

    /// What keeps earlier versions, where the home is a bucket.
    pub(crate) async fn versions(
        &self,
        settings: &Settings,
    ) -> Result<Option<Arc<dyn PurgeVersions>>, Error> {
        let NamedStore::Url(url) = self.named(settings).store else {
            return Ok(None);
        };
        let Some(bucket) = url.strip_prefix("s3://") else {
            return Ok(None);
        };
        let opened = S3Versions::open(bucket.trim_end_matches('/')).await;
        let opened = opened.map_err(Error::inner(format!("open the storage `{url}`")))?;
        Ok(Some(Arc::new(opened)))
    }

    /// What keeps the parts of unfinished uploads, to give them up; nothing is signed with it.
    pub(crate) async fn part_uploads(
        &self,
        settings: &Settings,
        store: &Store,
    ) -> Result<Arc<dyn PartUploads>, Error> {
        if let NamedStore::Url(url) = self.named(settings).store
            && let Some(bucket) = url.strip_prefix("s3://")
        {
            let opened = S3Uploads::open(bucket.trim_end_matches('/')).await;
            let opened = opened.map_err(Error::inner(format!("open the storage `{url}`")))?;
            return Ok(Arc::new(opened));
        }
        let signer = Signer::of_home(store).await;
        Ok(Arc::new(StagedParts {
            store: store.clone(),
            signer: signer.map_err(Error::inner("read the secret of the root folder"))?,
            endpoint: String::new(),
        }))
    }

    /// The queues alone.
    pub(crate) async fn open_queue(&self, settings: &Settings) -> Result<Arc<dyn Queue>, Error> {
        let named = self.named(settings);
        match &named.queue {
            Some(url) => open_queue_url(url),
            None => open_queue(&named, &open_store(&named).await?),
        }
    }
}

async fn open_store(named: &Named) -> Result<Store, Error> {
    match &named.store {
        NamedStore::Folder(root) => open(root).await,
        NamedStore::Url(url) => {
            let opened = Store::open(url).await;
            opened.map_err(Error::inner(format!("open the storage `{url}`")))
        }
    }
}

fn open_queue(named: &Named, store: &Store) -> Result<Arc<dyn Queue>, Error> {
    if let Some(url) = &named.queue {
        return open_queue_url(url);
    }
    if let (None, NamedStore::Url(url)) = (store.root(), &named.store) {
        return Err(Error::Usage {
            what: format!("the storage `{url}` has no queues of its own"),
            hint: Some("give `--queue sqs://stack`, the name of the stack".to_owned()),
        });
    }
    crate::standalone::open_queue(store).map_err(Error::inner("open the queues"))
}

fn open_queue_url(url: &str) -> Result<Arc<dyn Queue>, Error> {
    let opened = cellmill_queue::open(url, cellmill_queue::Settings::default());
    opened.map_err(Error::inner(format!("open the queues `{url}`")))
}

/// Opens a root folder that must be there already.
pub(crate) async fn open(root: &Path) -> Result<Store, Error> {
    if !root.is_dir() {
        return Err(Error::Usage {
            what: format!("there is no root folder `{}`", root.display()),
            hint: Some("`cellmill up --root DIR` makes one".to_owned()),
        });
    }
    let opened = Store::open_folder(root).await;
    opened.map_err(Error::inner(format!(
        "open the root folder `{}`",
        root.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_aws() -> Settings {
        Settings {
            store: Some("s3://cells".to_owned()),
            queue: Some("sqs://mill".to_owned()),
            ..Settings::default()
        }
    }

    #[test]
    fn what_the_command_line_names_goes_before_the_settings() {
        let root = HomeArgs {
            root: Some("lab".into()),
            ..HomeArgs::default()
        };
        let named = root.named(&on_aws());
        assert_eq!(
            (named.store, named.queue),
            (NamedStore::Folder("lab".into()), None)
        );
        let named = HomeArgs::default().named(&on_aws());
        let queue = Some("sqs://mill".to_owned());
        assert_eq!(named.store, NamedStore::Url("s3://cells".to_owned()));
        assert_eq!(named.queue, queue);
        let named = HomeArgs::default().named(&Settings::default());
        assert_eq!(named.store, NamedStore::Folder(DEFAULT_ROOT.into()));
    }

    #[tokio::test]
    async fn half_a_home_is_refused_with_the_other_half() {
        let only_store = HomeArgs {
            store: Some("memory://".to_owned()),
            ..HomeArgs::default()
        };
        let refused = only_store.open(&Settings::default()).await.unwrap_err();
        assert!(refused.hint().unwrap().contains("--queue"), "{refused}");
        let only_queue = HomeArgs {
            queue: Some("memory://".to_owned()),
            ..HomeArgs::default()
        };
        let refused = only_queue.open(&Settings::default()).await.unwrap_err();
        assert!(refused.hint().unwrap().contains("--store"), "{refused}");
    }
}
