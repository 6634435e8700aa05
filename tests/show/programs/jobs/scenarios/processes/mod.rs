//! Real processes over a folder, killed and frozen at every turn: everything ends as if nothing had happened.

mod catch;
mod check;
mod harm;
mod one_run;
mod plan;
mod stage;
mod tally;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cellmill_tests::show::Figures;
use cellmill_tests::show::place::say;
use cellmill_tests::show::process::{Mill, Program};
use cellmill_tests::show::tree::{RUN_FIELDS, Tree};
use futures::StreamExt as _;

use self::one_run::{Ran, one_run};
use self::plan::Plan;
use self::tally::Tally;
use crate::lab::Lab;
use crate::material::{photographs, some_images};
use crate::programs::Setting;

/// The shortest lease that there is; few photographs a unit, so that there are many units.
const SETTINGS: [Setting<'static>; 2] =
    [("CELLMILL_LEASE_S", "5"), ("CELLMILL_IMAGES_PER_UNIT", "3")];
/// What happens in a run follows from this and the run's number.
const SEED: u64 = 51_200_011;
const N_IMAGES: usize = 48;
/// A data set whose cells are looked for; never cancelled.
const KEPT: &str = "Kept";
/// A data set of the points, cancelled in some runs.
const OTHER: &str = "Other";
const JOBS: [&str; 2] = [KEPT, OTHER];
const N_WORKERS: usize = 3;

/// Where every run begins, and what it must come to.
#[derive(Debug)]
struct Base {
    program: Program,
    prepared: PathBuf,
    batches: Vec<String>,
    /// The results of a run that nobody disturbed.
    tree: Tree,
    calm: Calm,
}

/// How a run goes that nobody disturbs.
#[derive(Clone, Copy, Debug, Default)]
struct Calm {
    /// Of all jobs.
    n_units: usize,
    /// How long a unit takes, in the middle.
    unit: Duration,
    /// How long it takes from the first claim to the last commit.
    jobs: Duration,
}

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("processes")?;
    let mut base = prepare(lab, &place).await?;
    let calm = one_run(&base, &Plan::calm(), &place.join("undisturbed")).await?;
    calm.print("undisturbed");
    figures.holds("processes.undisturbed_is_well", calm.problems.is_empty());
    base.calm = calm.calm;
    base.tree = calm.tree.context("an undisturbed run has results")?;
    figures.told("processes.units", base.calm.n_units as f64, "units a run");
    figures.told("processes.unit", base.calm.unit.as_secs_f64(), "s, median");
    figures.told("processes.all_units", base.calm.jobs.as_secs_f64(), "s");
    figures.told(
        "processes.compared_files",
        base.tree.n_files() as f64,
        "files",
    );
    figures.told(
        "processes.fields_not_compared",
        RUN_FIELDS.len() as f64,
        "fields",
    );

    let (base, begun) = (Arc::new(base), Instant::now());
    let runs = (0..lab.n_runs).map(|n| {
        let (base, place) = (Arc::clone(&base), place.join(format!("run-{n}")));
        // A thread of its own, as it waits for the disk now and then.
        let run = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            let ran = runtime.block_on(one_run(&base, &Plan::draw(SEED, n), &place));
            (n, place, ran)
        });
        async move { run.await.context("a run broke off") }
    });
    let mut runs = futures::stream::iter(runs).buffer_unordered(lab.at_once);
    let mut tally = Tally::default();
    while let Some(run) = runs.next().await {
        let (n, place, ran) = run?;
        let ran = ran.unwrap_or_else(|error| Ran::broken(&error));
        ran.print(&format!("run {n}"));
        let is_well = ran.problems.is_empty() && ran.differences.is_empty();
        tally.add(&ran);
        // What went wrong is looked into: with --keep everything stays, without nothing.
        if is_well || !lab.show.options.keep {
            std::fs::remove_dir_all(&place).context("make room")?;
        } else {
            say(format_args!("  run {n} is kept in {}", place.display()));
        }
    }
    tally.print(figures, lab.n_runs as usize);
    figures.told("processes.at_once", lab.at_once as f64, "runs");
    figures.told("processes.seconds", begun.elapsed().as_secs_f64(), "s");
    Ok(())
}

/// Photographs in a root, on which nobody works any more.
async fn prepare(lab: &Lab<'_>, place: &Path) -> Result<Base> {
    let folder = some_images(&photographs(lab.show)?, N_IMAGES, &place.join("data"))?;
    let prepared = place.join("prepared");
    let mill = Mill::up_with(&lab.show.program, &prepared, &SETTINGS).await?;
    lab.show.import(&folder.path, &mill).await?;
    mill.stop().await?;
    Ok(Base {
        program: lab.show.program.clone(),
        prepared,
        batches: folder.batches().into_iter().map(str::to_owned).collect(),
        tree: Tree::default(),
        calm: Calm::default(),
    })
}
