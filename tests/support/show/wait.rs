//! Waiting for something that is not announced.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

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
