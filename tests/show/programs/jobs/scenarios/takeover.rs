//! `kill -9` of a worker that trains: another goes on, and the weights are those of a training that nobody disturbed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Figures;
use cellmill_tests::show::http::sha256_hex;
use cellmill_tests::show::place::say;
use serde_json::Value;

use crate::lab::Lab;
use crate::programs::{Server, Worker, process_of};
use crate::records::{attempts, number, owner, read, seconds, state, time, unit_path, written};
use crate::trainings::{copy_root, done, model_path, prepare, train, unit_when};

const LIMIT: Duration = Duration::from_mins(30);
const DIR: &str = "Trained";
/// From the last heartbeat of a dead worker to the next claim: lease 50 s, stamps 2 s, idle sweep 20 s, and room.
const GOAL_S: f64 = 90.0;
/// A training that lasts no longer has hardly named a checkpoint when it is killed: two heartbeats and room.
const LEAST_S: f64 = 75.0;
const QUICK_S: f64 = 45.0;
const FIRST_EPOCHS: u32 = 8;
/// A training this far has had its time to name a checkpoint.
const LATEST_PERCENT: u64 = 80;
const TRAIN: [&str; 2] = ["--kinds", "train"];

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("takeover")?;
    let prepared = prepare(lab.show, &place).await?;
    let least = if lab.show.options.quick {
        QUICK_S
    } else {
        LEAST_S
    };
    let mut epochs = FIRST_EPOCHS;
    let calm = loop {
        let root = place.join(format!("undisturbed-{epochs}")).join("root");
        let calm = undisturbed(lab, &prepared, &root, epochs).await?;
        say(format_args!("  {epochs} epochs take {:.1} s", calm.seconds));
        if calm.seconds >= least {
            break calm;
        }
        let more = f64::from(epochs) * least / calm.seconds * 1.2;
        epochs = (more.ceil() as u32).max(epochs + 1);
    };
    figures.told("takeover.epochs", f64::from(epochs), "epochs");
    figures.told("takeover.undisturbed", calm.seconds, "s");
    let root = place.join("killed").join("root");
    killed(lab, figures, &prepared, &root, epochs, &calm).await
}

/// A training that nobody disturbed.
struct Calm {
    seconds: f64,
    sha256: String,
}

async fn undisturbed(lab: &Lab<'_>, prepared: &Path, root: &Path, epochs: u32) -> Result<Calm> {
    copy_root(prepared, root)?;
    let server = Server::start(&lab.show.program, root, "up", &[]).await?;
    let worker = Worker::start(root, "worker", &TRAIN, &[])?;
    let mid = train(&server.client, DIR, epochs).await?;
    done(&server.client, DIR, LIMIT).await?;
    worker.stop().await?;
    server.stop().await?;
    let unit = read(&unit_path(root, "train", DIR, 0))?.context("the training has no unit")?;
    ensure!(number(&unit, "attempt") == 1, "somebody disturbed it");
    let attempt = &attempts(&unit)[0];
    let times = time(&attempt["began"]).zip(time(&attempt["ended"]));
    let (began, ended) = times.context("an attempt has times")?;
    Ok(Calm {
        seconds: seconds(began, ended),
        sha256: sha256_of_model(root, mid)?,
    })
}

async fn killed(
    lab: &Lab<'_>,
    figures: &mut Figures,
    prepared: &Path,
    root: &Path,
    epochs: u32,
    calm: &Calm,
) -> Result<()> {
    copy_root(prepared, root)?;
    let server = Server::start(&lab.show.program, root, "up", &[]).await?;
    let mut workers = Vec::new();
    for name in ["worker-a", "worker-b"] {
        workers.push(Worker::start(root, name, &TRAIN, &[])?);
    }
    let mid = train(&server.client, DIR, epochs).await?;
    let is_far = |unit: &Value| {
        has_checkpoint(unit) || state(unit) != "leased" || number(unit, "percent") >= LATEST_PERCENT
    };
    unit_when(root, DIR, "names a checkpoint", LIMIT, is_far).await?;
    let path = unit_path(root, "train", DIR, 0);
    let unit = read(&path)?.context("the unit is gone")?;
    let at = workers
        .iter()
        .position(|it| Some(it.process.id()) == process_of(owner(&unit)));
    workers
        .remove(at.context("nobody holds the unit")?)
        .process
        .kill()?;
    // Nobody writes it now.
    let unit = read(&path)?.context("the unit is gone")?;
    ensure!(state(&unit) == "leased", "it ended before it was killed");
    let last_heartbeat = written(&path)?;
    figures.holds("takeover.a_checkpoint_was_named", has_checkpoint(&unit));
    let percent = number(&unit, "percent") as f64;
    figures.told("takeover.killed_at", percent, "percent");

    let is_taken = |unit: &Value| number(unit, "attempt") > 1;
    unit_when(root, DIR, "is taken over", LIMIT, is_taken).await?;
    done(&server.client, DIR, LIMIT).await?;
    let unit = read(&path)?.context("the unit is gone")?;
    let second = attempts(&unit).iter().find(|it| it["attempt"] == 2);
    let second = second.context("there is no second attempt")?;
    let began = time(&second["began"]).context("an attempt has a time")?;
    let waited = seconds(last_heartbeat, began);
    figures.at_most("takeover.after_its_last_heartbeat", waited, "s", GOAL_S);
    let resumed = second["resumed_percent"].as_f64();
    let is_resumed = resumed.is_some_and(|it| it > 0.0);
    figures.holds("takeover.goes_on_from_a_checkpoint", is_resumed);
    if let Some(percent) = resumed {
        figures.told("takeover.resumed_at", percent, "percent");
    }
    let n_attempts = number(&unit, "attempt") as usize;
    figures.exactly("takeover.attempts", n_attempts, "attempts", 2);
    let is_same = sha256_of_model(root, mid)? == calm.sha256;
    figures.holds("takeover.same_weights_as_undisturbed", is_same);
    for worker in workers {
        worker.stop().await?;
    }
    server.stop().await?;
    let is_verified = lab.show.is_verified(root).await?;
    figures.holds("takeover.verify_finds_nothing", is_verified);
    Ok(())
}

fn has_checkpoint(unit: &Value) -> bool {
    unit["checkpoints"]
        .as_array()
        .is_some_and(|it| !it.is_empty())
}

fn sha256_of_model(root: &Path, mid: u64) -> Result<String> {
    let path = model_path(root, mid);
    let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(sha256_hex(&bytes))
}
