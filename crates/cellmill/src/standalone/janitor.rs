//! The janitor of this process.

use std::future::Future;
use std::time::Duration;

use cellmill_fn_janitor::retention::Retention;
use cellmill_fn_janitor::{Error as JanitorError, Janitor, SweepImages};
use cellmill_service::{Shutdown, report};
use tokio_util::sync::CancellationToken;

/// The sweep over images and points: files whose event was lost are rare.
const IMAGES_EVERY: Duration = Duration::from_hours(1);

/// What the sweep of retention removes is a day old at least, so it does not matter when.
const RETENTION_EVERY: Duration = Duration::from_hours(24);

/// A start has more urgent things to do.
const RETENTION_AFTER: Duration = Duration::from_mins(5);

/// Sweeps until the shutdown: everything at the start, then jobs often and images now and then.
pub(super) fn sweep(janitor: &Janitor, shutdown: &Shutdown) {
    let (jobs, images) = (janitor.clone(), janitor.clone());
    let token = shutdown.token();
    shutdown.spawn(async move {
        if let Err(error) = wake(&jobs).await {
            tracing::warn!(error = report(&error), "jobs not woken at start");
        }
        let every = jobs.timing.sweep();
        repeat(&token, every, || async {
            jobs.perform(&jobs.plan_jobs().await?.actions).await?;
            jobs.perform(&jobs.plan_trainings().await?).await
        })
        .await;
    });
    let token = shutdown.token();
    shutdown.spawn(async move {
        repeat(&token, IMAGES_EVERY, || async {
            let swept = images.plan_images(&SweepImages::everything()).await?;
            tracing::info!(
                n_objects = swept.n_objects,
                n_found = swept.actions.len(),
                "images swept"
            );
            images.perform(&swept.actions).await
        })
        .await;
    });
}

/// Removes what nobody needs any more, until the shutdown.
pub(super) fn retain(retention: Retention, shutdown: &Shutdown) {
    let token = shutdown.token();
    shutdown.spawn(async move {
        token
            .run_until_cancelled(tokio::time::sleep(RETENTION_AFTER))
            .await;
        repeat(&token, RETENTION_EVERY, || async {
            // A shutdown does not wait for it: the next sweep goes on.
            let run = Box::pin(retention.run(None, RETENTION_EVERY));
            let run = token.run_until_cancelled(run);
            let Some(swept) = run.await.transpose()? else {
                return Ok(());
            };
            tracing::info!(
                n_objects = swept.n_seen,
                n_removed = swept.removed.n_objects,
                bytes = swept.removed.bytes,
                "retention swept"
            );
            Ok(())
        })
        .await;
    });
}

/// A process that was killed took its messages with it for a while: every job that is not ended is looked at once.
async fn wake(janitor: &Janitor) -> Result<(), JanitorError> {
    let actions = janitor.plan_wake().await?;
    janitor.perform(&actions).await
}

async fn repeat<F, R>(token: &CancellationToken, every: Duration, run: F)
where
    F: Fn() -> R,
    R: Future<Output = Result<(), JanitorError>>,
{
    while !token.is_cancelled() {
        if let Err(error) = run().await {
            tracing::warn!(
                error = report(&error),
                "sweep not finished, the next one goes on"
            );
        }
        token.run_until_cancelled(tokio::time::sleep(every)).await;
    }
}
