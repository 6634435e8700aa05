//! Uploads in parts that nobody ends: at the start, and now and then.

use std::sync::Arc;
use std::time::Duration;

use cellmill_service::{Shutdown, report};
use cellmill_store::Store;
use cellmill_store::uploads::{PartUploads, Sessions};

/// What is swept is a week old, so it does not matter when.
const EVERY: Duration = Duration::from_hours(6);

/// Sweeps until the shutdown.
pub(super) fn sweep(store: &Store, home: &Arc<dyn PartUploads>, shutdown: &Shutdown) {
    let sessions = Sessions {
        store: store.clone(),
        home: Arc::clone(home),
    };
    let token = shutdown.token();
    shutdown.spawn(async move {
        while !token.is_cancelled() {
            match sessions.sweep(sessions.store.now()).await {
                Ok(swept) if swept.n_removed > 0 => {
                    tracing::info!(n_removed = swept.n_removed, "unfinished uploads removed");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(
                    error = report(&error),
                    "unfinished uploads not swept, the next sweep goes on"
                ),
            }
            token.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        }
    });
}
