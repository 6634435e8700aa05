//! The janitor of this process, and one round of it by command.

use std::future::Future;
use std::time::Duration;

use cellmill_fn_janitor::{Action, Error as JanitorError, Janitor, SweepImages, What};
use cellmill_service::{Settings, Shutdown, report};
use tokio_util::sync::CancellationToken;

use crate::cli::table::Table;
use crate::cli::{Console, Error, Exit};
use crate::commands::janitor::JanitorArgs;

/// The sweep over images and points: files whose event was lost are rare.
const IMAGES_EVERY: Duration = Duration::from_hours(1);

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

/// `cellmill janitor`: one round over a root, or what it would do.
pub async fn janitor(args: &JanitorArgs, console: &mut Console) -> Result<Exit, Error> {
    let settings = Settings::from_env().map_err(Error::inner("read the settings"))?;
    let (store, queue) = args.home.open(&settings).await?;
    let janitor = Janitor::new(store, queue, &settings);
    let mut actions = janitor
        .plan_jobs()
        .await
        .map_err(Error::inner("look at the jobs"))?
        .actions;
    let swept = janitor
        .plan_images(&SweepImages::everything())
        .await
        .map_err(Error::inner("look at the images"))?;
    actions.extend(swept.actions);
    actions.extend(
        janitor
            .plan_trainings()
            .await
            .map_err(Error::inner("look at the label types"))?,
    );
    if !args.dry_run {
        janitor
            .perform(&actions)
            .await
            .map_err(Error::inner("do what was found"))?;
    }
    show(&actions, args.dry_run, console)?;
    Ok(Exit::Ok)
}

fn show(actions: &[Action], is_dry_run: bool, console: &mut Console) -> Result<(), Error> {
    console.answer(&actions, |console, actions| {
        let mut table = Table::new(["ACTION", "SUBJECT", "WHY"]);
        for it in *actions {
            table.row([verb(&it.what).to_owned(), subject(&it.what), it.why.clone()]);
        }
        if !actions.is_empty() {
            console.line(table.render())?;
        }
        console.note(match (actions.len(), is_dry_run) {
            (0, _) => "nothing to do".to_owned(),
            (n, true) => format!("{n} to do; run it without --dry-run to have them done"),
            (n, false) => format!("{n} done"),
        });
        Ok(())
    })
}

fn verb(what: &What) -> &'static str {
    match what {
        What::Assemble { .. } => "assemble",
        What::Collect { .. } => "collect",
        What::Hint { .. } => "hint",
        What::EndLease { .. } => "end lease",
        What::RemoveMark { .. } => "remove mark",
        What::Ingest { .. } => "ingest",
        What::Label { .. } => "label",
        What::Train { .. } => "train",
    }
}

fn subject(what: &What) -> String {
    match what {
        What::Assemble { kind, dir }
        | What::Collect {
            kind,
            dir,
            unit: None,
        } => format!("{} {dir}", kind.as_str()),
        What::Collect {
            kind,
            dir,
            unit: Some(unit),
        }
        | What::Hint {
            kind, dir, unit, ..
        }
        | What::EndLease { kind, dir, unit } => {
            format!("{} {dir}, unit {unit}", kind.as_str())
        }
        What::Train { label_type } => format!("label type {label_type}"),
        What::RemoveMark { key } | What::Ingest { key } | What::Label { key } => key.clone(),
    }
}
