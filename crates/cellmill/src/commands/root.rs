//! The home of everything, for the commands that read it themselves: a root folder, or a bucket and its queues.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cellmill_queue::Queue;
use cellmill_service::Settings;
use cellmill_store::Store;

use crate::cli::Error;

/// Where everything is kept
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HomeArgs {
    /// The root folder of a standalone server
    #[arg(long, value_name = "DIR", default_value = "./cellmill-data")]
    pub(crate) root: PathBuf,
    /// On AWS, the bucket: `s3://bucket`; instead of a root folder. The setting `CELLMILL_STORE` when left out
    #[arg(long, value_name = "URL", requires = "queue")]
    pub(crate) store: Option<String>,
    /// On AWS, the queues: `sqs://stack`; instead of those in the root folder. The setting `CELLMILL_QUEUE` when
    /// left out
    #[arg(long, value_name = "URL")]
    pub(crate) queue: Option<String>,
}

impl HomeArgs {
    /// The store and its queues.
    pub(crate) async fn open(&self, settings: &Settings) -> Result<(Store, Arc<dyn Queue>), Error> {
        let store = if let Some(url) = self.store.as_ref().or(settings.store.as_ref()) {
            let opened = Store::open(url).await;
            opened.map_err(Error::inner(format!("open the storage `{url}`")))?
        } else {
            open(&self.root).await?
        };
        Ok((store, self.open_queue(settings).await?))
    }

    /// The queues alone.
    pub(crate) async fn open_queue(&self, settings: &Settings) -> Result<Arc<dyn Queue>, Error> {
        let named = self.queue.as_ref().or(settings.queue.as_ref());
        let opened = match named {
            Some(url) => cellmill_queue::open(url, cellmill_queue::Settings::default()),
            None => crate::standalone::open_queue(&open(&self.root).await?),
        };
        opened.map_err(Error::inner("open the queues"))
    }
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
