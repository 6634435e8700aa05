//! `janitor`: what the housekeeping would do to a root folder or a bucket, or one round of it.

use cellmill_fn_janitor::retention::{Removal, Remove, Retention, SweepRetention};
use cellmill_fn_janitor::{Action, Janitor, SweepImages, What};
use cellmill_service::Settings;
use serde::Serialize;

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit};

use super::root::HomeArgs;

/// Do one round of housekeeping over a root folder or a bucket, or say what it would do
///
/// A server does all of this by itself. Nothing that a result needs is ever removed.
#[derive(Clone, Debug, clap::Args)]
pub struct JanitorArgs {
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// Only these sweeps [default: all]
    #[arg(value_enum, value_name = "SWEEP")]
    pub(crate) sweeps: Vec<Sweep>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sweep {
    /// Jobs, units that nobody works on, periodic trainings
    Jobs,
    /// Photographs and points whose event was lost
    Images,
    /// Removes what units of old jobs left, orphans, killed workers, unfinished uploads
    Retention,
}

/// One thing that is done, or would be.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Row {
    Sent(Action),
    Removed(Removal),
}

pub(crate) async fn run(args: &JanitorArgs, console: &mut Console) -> Result<Exit, Error> {
    let settings = Settings::from_env().map_err(Error::inner("read the settings"))?;
    let (store, queue) = args.home.open(&settings).await?;
    let wants = |sweep| args.sweeps.is_empty() || args.sweeps.contains(&sweep);
    let mut rows = Vec::new();
    let janitor = Janitor::new(store.clone(), queue, &settings);
    let actions = repairs(&janitor, wants(Sweep::Jobs), wants(Sweep::Images)).await?;
    if !args.dry_run {
        let done = janitor.perform(&actions).await;
        done.map_err(Error::inner("do what was found"))?;
    }
    rows.extend(actions.into_iter().map(Row::Sent));
    if wants(Sweep::Retention) {
        let uploads = args.home.part_uploads(&settings, &store).await?;
        let retention = Retention::new(store, uploads, &settings);
        let removals = retain(&retention, args.dry_run).await?;
        rows.extend(removals.into_iter().map(Row::Removed));
    }
    show(&rows, args.dry_run, console)?;
    Ok(Exit::Ok)
}

async fn repairs(
    janitor: &Janitor,
    with_jobs: bool,
    with_images: bool,
) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    if with_jobs {
        let swept = janitor.plan_jobs().await;
        actions.extend(swept.map_err(Error::inner("look at the jobs"))?.actions);
    }
    if with_images {
        let swept = janitor.plan_images(&SweepImages::everything()).await;
        actions.extend(swept.map_err(Error::inner("look at the images"))?.actions);
    }
    if with_jobs {
        let due = janitor.plan_trainings().await;
        actions.extend(due.map_err(Error::inner("look at the label types"))?);
    }
    Ok(actions)
}

async fn retain(retention: &Retention, is_dry_run: bool) -> Result<Vec<Removal>, Error> {
    let mut sweep = SweepRetention::default();
    let mut removals = Vec::new();
    loop {
        let now = retention.store.now();
        let slice = retention.plan(&sweep, now).await;
        let slice = slice.map_err(Error::inner("look for what nobody needs any more"))?;
        if !is_dry_run {
            let removed = retention.perform(&slice.removals, now).await;
            removed.map_err(Error::inner("remove what nobody needs any more"))?;
        }
        removals.extend(slice.removals);
        match slice.next {
            Some(next) => sweep.from = Some(next),
            None => return Ok(removals),
        }
    }
}

fn show(rows: &[Row], is_dry_run: bool, console: &mut Console) -> Result<(), Error> {
    console.answer(&rows, |console, rows| {
        let mut table = Table::new(["ACTION", "SUBJECT", "OBJECTS", "FREES", "WHY"]);
        for row in *rows {
            table.row(cells(row));
        }
        if !rows.is_empty() {
            console.line(table.render())?;
        }
        console.note(match (rows.len(), is_dry_run) {
            (0, _) => "nothing to do".to_owned(),
            (n, true) => format!(
                "{n} to do{}; run it without --dry-run to have them done",
                freed(rows)
            ),
            (n, false) => format!("{n} done{}", freed(rows)),
        });
        Ok(())
    })
}

fn cells(row: &Row) -> [String; 5] {
    match row {
        Row::Sent(it) => [
            verb(&it.what).to_owned(),
            subject(&it.what),
            String::new(),
            String::new(),
            it.why.clone(),
        ],
        Row::Removed(it) => [
            removal_verb(&it.what).to_owned(),
            it.what.subject(),
            it.n_objects.to_string(),
            table::bytes(it.bytes),
            it.why.clone(),
        ],
    }
}

/// What all removals free together.
fn freed(rows: &[Row]) -> String {
    let (mut n_objects, mut bytes) = (0, 0);
    for row in rows {
        if let Row::Removed(it) = row {
            n_objects += it.n_objects;
            bytes += it.bytes;
        }
    }
    match n_objects {
        0 => String::new(),
        n => format!(", {n} objects of {}", table::bytes(bytes)),
    }
}

const fn removal_verb(what: &Remove) -> &'static str {
    match what {
        Remove::ClearJob { .. } => "clear job",
        Remove::RemoveOrphan { .. } => "remove orphan",
        Remove::RemovePack { .. } => "remove pack",
        Remove::RemoveWorker { .. } => "remove worker",
        Remove::GiveUpUpload { .. } => "give up upload",
    }
}

fn verb(what: &What) -> &'static str {
    match what {
        What::Assemble { .. } => "assemble",
        What::Collect { .. } => "collect",
        What::Hint { .. } => "hint",
        What::Raise { .. } => "raise",
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
        | What::Raise { kind, dir }
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
