//! Waiting for something that is not announced.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::data::files_below;

/// Asks again until there is an answer. Says what was waited for when there is none in time.
pub async fn wait_until<T>(
    what: &str,
    limit: Duration,
    pause: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if begun.elapsed() > limit {
            bail!("waited {limit:?} in vain until {what}");
        }
        tokio::time::sleep(pause).await;
    }
}

/// Waits until a root has no mark of an open job.
pub async fn no_job_is_open(root: &Path, limit: Duration) -> Result<()> {
    let active = root.join("active");
    let pause = Duration::from_millis(200);
    wait_until("no job is open", limit, pause, async || {
        let is_empty = !active.exists() || files_below(&active)?.is_empty();
        Ok(is_empty.then_some(()))
    })
    .await
}
