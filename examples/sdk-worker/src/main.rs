//! A worker beside a standalone server: `example-sdk-worker /data/lab sizes 2500`.

use std::error::Error;
use std::path::{Path, absolute};
use std::sync::Arc;

use cellmill_worker::core::messages::UnitClass;
use cellmill_worker::queue::{self, Settings};
use cellmill_worker::store::Store;
use cellmill_worker::{CancellationToken, Options, Parts, WorkerLoop, fresh_id};
use example_sdk_worker::BySize;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, class, area] = arguments.as_slice() else {
        return Err(
            "three arguments: the server's folder, a class of units, an area in pixels".into(),
        );
    };
    let root = absolute(root)?;
    let options = Options {
        classes: vec![UnitClass::parse(class)?],
        ..Options::new(fresh_id("by-size"))
    };
    let worker = WorkerLoop::new(
        parts(&root).await?,
        vec![Arc::new(BySize {
            area: area.parse()?,
        })],
        options,
    )?;
    let shutdown = CancellationToken::new();
    let interrupted = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    Ok(worker.run(shutdown).await?)
}

/// The homes of a standalone server: its folder, and the queue file in it.
async fn parts(root: &Path) -> Result<Parts, Box<dyn Error>> {
    let store = Store::open(&format!("file://{}", root.display())).await?;
    let file = root.join(".cellmill").join("queue.sqlite");
    let queue = queue::open(&format!("sqlite://{}", file.display()), Settings::default())?;
    Ok(Parts { store, queue })
}
