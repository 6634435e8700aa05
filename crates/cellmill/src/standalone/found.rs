//! Files that a person copies into the root: they become events like those of an upload.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::events::{self, ObjectCreated};
use cellmill_core::keys::{ImageRoot, Prefix};
use cellmill_core::messages::{POINTS, UPLOADS};
use cellmill_core::triggers::{Function, function_of};
use cellmill_queue::{Outgoing, Queue, QueueName};
use cellmill_service::{Shutdown, report};
use cellmill_store::Store;
use cellmill_store::watch::{self, Found};
use tokio::sync::mpsc::Receiver;

/// A file counts as whole when it stood still for this long.
const SETTLE: Duration = Duration::from_secs(2);
/// Files told of in one call.
const BATCH: usize = 100;

/// Tells the functions of files under the trigger prefixes until the shutdown.
///
/// Our own uploads are found too, after they were told of already: a record that speaks of these very bytes
/// makes the second event end at once.
pub(super) fn watch(
    store: &Store,
    queue: &Arc<dyn Queue>,
    shutdown: &Shutdown,
) -> Result<(), watch::WatchError> {
    let Some(root) = store.root() else {
        return Ok(());
    };
    let prefixes = [
        Prefix::Images(ImageRoot::Hospital),
        Prefix::Images(ImageRoot::Upload),
        Prefix::Points,
    ];
    let prefixes = prefixes.map(|it| it.to_path().trim_end_matches('/').to_owned());
    let found = watch::start(root, &prefixes.each_ref().map(String::as_str), SETTLE)?;
    let (queue, token) = (Arc::clone(queue), shutdown.token());
    shutdown.spawn(async move {
        token.run_until_cancelled(tell(&*queue, found)).await;
    });
    Ok(())
}

async fn tell(queue: &dyn Queue, mut found: Receiver<Found>) {
    let mut batch = Vec::with_capacity(BATCH);
    while found.recv_many(&mut batch, BATCH).await > 0 {
        let (mut images, mut points) = (Vec::new(), Vec::new());
        for found in batch.drain(..) {
            match found {
                Found::Key(key) => match function_of(&key) {
                    Some(Function::Ingest) => images.push(created(key)),
                    Some(Function::Label) => points.push(created(key)),
                    None => {}
                },
                Found::Unusable { path, reason } => {
                    tracing::warn!(path = %path.display(), reason, "file can't be used");
                }
            }
        }
        send(queue, UPLOADS, images).await;
        send(queue, POINTS, points).await;
    }
}

fn created(key: String) -> Outgoing {
    Outgoing::now(events::print(&ObjectCreated {
        key,
        etag: None,
        size: None,
        version_id: None,
        sequencer: None,
    }))
}

/// What can't be sent now is found by the next sweep over the images.
async fn send(queue: &dyn Queue, name: &'static str, messages: Vec<Outgoing>) {
    if let Err(error) = queue.send(&QueueName::from_static(name), &messages).await {
        tracing::error!(
            queue = name,
            error = report(&error),
            "files found but not told of"
        );
    }
}
