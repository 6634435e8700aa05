//! `kill -9` of `up` in the middle of trainings and predictions: afterwards everything is as if nothing had happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::files::state_of;
use cellmill_tests::show::learning::commands::{TrainWish, predict};
use cellmill_tests::show::learning::projects::json;
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::tree::{RUN_FIELDS, Tree};
use cellmill_tests::show::wait::{no_job_is_open, wait_until};
use cellmill_tests::show::{Figures, Show};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::material::some_cases;

const LIMIT: Duration = Duration::from_mins(3);
/// A unit of a killed worker is free again soon.
const SETTINGS: [(&str, &str); 1] = [("CELLMILL_LEASE_S", "5")];
/// The moments of the kills follow from it.
const SEED: u64 = 18_110_011;
const N_CASES: usize = 6;
const EPOCHS: u32 = 2;
const DATASET: &str = "Cells";
const PAUSE: Duration = Duration::from_millis(3);

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Train,
    Predict,
}

impl Stage {
    const ALL: [Self; 2] = [Self::Train, Self::Predict];

    const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Predict => "predict",
        }
    }

    /// Directory of the project.
    const fn dir(self) -> &'static str {
        match self {
            Self::Train => "Trained",
            Self::Predict => "Predicted",
        }
    }

    fn job(self, root: &Path) -> PathBuf {
        let folder = root.join("projects").join(self.dir());
        folder.join(format!("{}.json", self.name()))
    }

    /// The record of its only unit.
    fn unit(self, root: &Path) -> PathBuf {
        let folder = root.join("units").join(self.dir());
        folder.join(format!("{}-00000.json", self.name()))
    }
}

/// What a pass gave.
#[derive(Debug, Default)]
struct Pass {
    durations: [Duration; 2],
    hits: [bool; 2],
    attempts: [u64; 2],
    n_commits: usize,
    is_verified: bool,
    tree: Tree,
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let place = show.make_place("kill")?;
    let prepared = place.join("prepared");
    prepare(show, &place, &prepared).await?;
    let calm = pass(show, &prepared, &place.join("undisturbed"), None).await?;
    for (stage, duration) in Stage::ALL.iter().zip(calm.durations) {
        let name = format!("kill.{}.duration", stage.name());
        figures.told(&name, duration.as_secs_f64(), "s");
    }
    figures.told("kill.compared_files", calm.tree.n_files() as f64, "files");
    figures.told(
        "kill.fields_not_compared",
        RUN_FIELDS.len() as f64,
        "fields",
    );

    let wanted: usize = if show.options.quick { 2 } else { 10 };
    let mut moments = StdRng::seed_from_u64(SEED);
    let mut durations = calm.durations;
    let mut hits = [0_usize; 2];
    let mut attempts = [0_u64; 2];
    let (mut n_passes, mut n_same, mut n_verified, mut n_commits) = (0, 0, 0, 0);
    // A kill that came too late is no kill; the pass is compared all the same, and another one is made.
    while hits.iter().any(|it| *it < wanted) && n_passes < 2 * wanted {
        n_passes += 1;
        let root = place.join(format!("pass-{n_passes}"));
        let moments: [f64; 2] = std::array::from_fn(|_| moments.random());
        let pass = pass(show, &prepared, &root, Some((&moments, &durations))).await?;
        for (i, hit) in pass.hits.into_iter().enumerate() {
            hits[i] += usize::from(hit);
            attempts[i] = attempts[i].max(pass.attempts[i]);
            if !hit {
                // It was over by then: it lasts no longer than that on this machine, now.
                durations[i] = durations[i].mul_f64(moments[i]);
            }
        }
        n_commits += pass.n_commits;
        n_verified += usize::from(pass.is_verified);
        let differences = calm.tree.differences(&pass.tree);
        n_same += usize::from(differences.is_empty());
        say(format_args!(
            "  pass {n_passes}: killed at {moments:.2?} {:?}, attempts {:?}, {} files differ",
            pass.hits,
            pass.attempts,
            differences.len()
        ));
        for it in differences.iter().take(10) {
            say(format_args!("    {it}"));
        }
        show.clear(&root)?;
    }
    for (i, stage) in Stage::ALL.iter().enumerate() {
        let name = format!("kill.{}.while_working", stage.name());
        figures.at_least(&name, hits[i] as f64, "kills", wanted as f64);
        let name = format!("kill.{}.most_attempts", stage.name());
        figures.told(&name, attempts[i] as f64, "attempts");
    }
    figures.exactly(
        "kill.same_as_undisturbed",
        n_same,
        "passes of 2 kills",
        n_passes,
    );
    figures.exactly("kill.one_commit_each", n_commits, "jobs", 2 * n_passes);
    figures.exactly("kill.verify_finds_nothing", n_verified, "passes", n_passes);
    Ok(())
}

/// Images and a data set: where every pass begins.
async fn prepare(show: &Show, place: &Path, root: &Path) -> Result<()> {
    let whole = Folder::read(&show.options.data.join("bccd"))?;
    let folder = some_cases(&whole, N_CASES, &place.join("data"))?;
    let mill = Mill::up_with(&show.program, root, &SETTINGS).await?;
    show.import(&folder.path, &mill).await?;
    let wish = Wish {
        dir: DATASET,
        data_type: "1",
        batches: folder.batches(),
        waits: true,
    };
    show.make_dataset(&mill, &wish).await?;
    mill.stop().await
}

/// A training, then a prediction with its model. With `kills`, one kill in each.
async fn pass(
    show: &Show,
    prepared: &Path,
    root: &Path,
    kills: Option<(&[f64; 2], &[Duration; 2])>,
) -> Result<Pass> {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(prepared)
        .arg(root)
        .status();
    ensure!(copied.context("run cp")?.success(), "cp failed");
    let mut pass = Pass::default();
    let mut mill = Mill::up_with(&show.program, root, &SETTINGS).await?;
    for (i, stage) in Stage::ALL.into_iter().enumerate() {
        mill.wait_until_healthy().await?;
        begin(stage, show, &mill).await?;
        let begun = reached(stage, root, true).await?;
        if let Some((moments, durations)) = kills {
            tokio::time::sleep(durations[i].mul_f64(moments[i])).await;
            mill.kill()?;
            // Nobody has changed the files since.
            pass.hits[i] = state_of(&stage.unit(root))? == "leased";
            mill = Mill::spawn(&show.program, root, &SETTINGS)?;
        }
        let ended = reached(stage, root, false).await;
        pass.durations[i] = ended.with_context(|| stage.name())? - begun;
        let what = format!("the {} job is done", stage.name());
        wait_until(&what, LIMIT, PAUSE, async || {
            let state = state_of(&stage.job(root))?;
            ensure!(state != "failed", "the {} job failed", stage.name());
            Ok((state == "done").then_some(()))
        })
        .await?;
        let unit = json(&stage.unit(root))?;
        pass.attempts[i] = unit["attempt"].as_u64().unwrap_or(0);
        pass.n_commits += usize::from(is_one_commit(&unit));
    }
    mill.wait_until_healthy().await?;
    no_job_is_open(root, LIMIT).await?;
    pass.tree = Tree::still(root, Tree::of_results, LIMIT).await?;
    mill.stop().await?;
    pass.is_verified = show.is_verified(root).await?;
    Ok(pass)
}

async fn begin(stage: Stage, show: &Show, mill: &Mill) -> Result<()> {
    let no_wait = ["--no-wait"];
    let small = ["--no-wait", "--scale", "small"];
    let ran = match stage {
        Stage::Train => {
            let wish = TrainWish {
                dataset: DATASET,
                dir: stage.dir(),
                seed: 1,
                epochs: Some(EPOCHS),
                more: &small,
            };
            wish.run(show, mill).await?
        }
        Stage::Predict => {
            let result = mill.root().join("projects").join(Stage::Train.dir());
            let result = json(&result.join("mod.json"))?;
            let mid = result["mid"].as_u64().context("mod.json names no model")?;
            predict(show, mill, DATASET, mid, stage.dir(), &no_wait).await?
        }
    };
    ran.must_be_ok(stage.name()).map(drop)
}

/// Waits until the unit has told of its first progress, or has ended, and says when.
async fn reached(stage: Stage, root: &Path, is_begin: bool) -> Result<Instant> {
    let what = format!("the {} unit goes on", stage.name());
    wait_until(&what, LIMIT, PAUSE, async || {
        let path = stage.unit(root);
        let state = state_of(&path)?;
        let is_there = match state.as_str() {
            "leased" => is_begin && has_progressed(&path)?,
            other => other == "done" || other == "failed",
        };
        Ok(is_there.then(Instant::now))
    })
    .await
}

fn has_progressed(unit: &Path) -> Result<bool> {
    let bytes = fs::read(unit).context("read a unit")?;
    let unit: Value = serde_json::from_slice(&bytes).context("a unit is torn")?;
    Ok(unit["percent"].as_u64().unwrap_or(0) > 0 || unit["step"] != "")
}

/// Done, and everything that it left comes from its last attempt.
fn is_one_commit(unit: &Value) -> bool {
    let attempt = format!("/{:05}/", unit["attempt"].as_u64().unwrap_or(0));
    let outputs = unit["outputs"].as_array().map_or(&[][..], Vec::as_slice);
    let is_of_attempt = |it: &Value| it["key"].as_str().is_some_and(|it| it.contains(&attempt));
    unit["state"] == "done" && !outputs.is_empty() && outputs.iter().all(is_of_attempt)
}
