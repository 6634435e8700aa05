//! Running trainings that are not wanted any more: the worker is free soon, and nothing comes after. One that is
//! stopped keeps its best so far.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cellmill_tests::show::Figures;
use cellmill_tests::show::http::Client;
use cellmill_tests::show::place::say;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::programs::{Server, Worker};
use crate::records::{attempts, read, seconds, state, time, unit_path};
use crate::trainings::{copy_root, model_path, prepare, train, unit_when};

const LIMIT: Duration = Duration::from_mins(10);
/// The moments of the cancels follow from it.
const SEED: u64 = 5_150_011;
/// More than anybody waits for.
const EPOCHS: u32 = 1_000;
const HEARTBEAT_S: f64 = 15.0;
/// A heartbeat, a mini-batch, and room for the disk.
const GOAL_S: f64 = 20.0;
/// How long nothing may come after the last cancel.
const WATCHED: Duration = Duration::from_mins(1);
const QUICK_WATCHED: Duration = Duration::from_secs(20);
const STOPPED: &str = "Stopped";
/// By then a training has something to keep.
const KEEPS: Duration = Duration::from_mins(1);

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("cancel")?;
    let prepared = prepare(lab.show, &place).await?;
    let root = place.join("trained").join("root");
    copy_root(&prepared, &root)?;
    let server = Server::start(&lab.show.program, &root, "up", &[]).await?;
    let worker = Worker::start(&root, "worker", &["--kinds", "train"], &[])?;
    let n = if lab.show.options.quick { 1 } else { 4 };
    let mut trainings = Vec::new();
    for i in 0..n {
        trainings.push(Training::begin(&server.client, &root, format!("Cancelled{i}")).await?);
    }
    // One more, so that there is always somebody whom a free worker takes.
    let stopped = Training::begin(&server.client, &root, STOPPED.to_owned()).await?;
    let mut dice = StdRng::seed_from_u64(SEED);
    let (mut ended, mut free) = (0.0_f64, 0.0_f64);
    for i in 0..n {
        let moment = Duration::from_secs_f64(dice.random_range(0.0..HEARTBEAT_S));
        let next = trainings.get(i + 1).unwrap_or(&stopped).dir.clone();
        let cancelled = trainings[i].cancel(&server.client, moment, &next).await?;
        say(format_args!("  {}: {cancelled:.2?}", trainings[i].dir));
        ended = ended.max(cancelled.until_ended);
        free = free.max(cancelled.until_free);
    }
    figures.told("cancel.cancelled", n as f64, "trainings");
    figures.at_most("cancel.until_the_unit_ended", ended, "s, at most", GOAL_S);
    figures.at_most(
        "cancel.until_the_worker_is_free",
        free,
        "s, at most",
        GOAL_S,
    );

    let watched = if lab.show.options.quick {
        QUICK_WATCHED
    } else {
        WATCHED
    };
    let late = nothing_comes(&server.client, &trainings, watched).await?;
    for it in &late {
        say(format_args!("  {it}"));
    }
    figures.told("cancel.watched", watched.as_secs_f64(), "s");
    figures.exactly("cancel.came_after", late.len(), "results", 0);
    stop(figures, &server.client, &stopped).await?;
    worker.stop().await?;
    server.stop().await?;
    let is_verified = lab.show.is_verified(&root).await?;
    figures.holds("cancel.verify_finds_nothing", is_verified);
    Ok(())
}

/// A training, and what there was of it when it was cancelled.
struct Training {
    root: PathBuf,
    dir: String,
    mid: u64,
    files: BTreeSet<String>,
}

#[derive(Debug)]
struct Cancelled {
    until_ended: f64,
    until_free: f64,
}

impl Training {
    async fn begin(client: &Client, root: &Path, dir: String) -> Result<Self> {
        let mid = train(client, &dir, EPOCHS).await?;
        Ok(Self {
            root: root.to_owned(),
            dir,
            mid,
            files: BTreeSet::new(),
        })
    }

    /// Waits until it learns, and `moment` longer, and cancels it. The worker goes on with `next`.
    async fn cancel(&mut self, client: &Client, moment: Duration, next: &str) -> Result<Cancelled> {
        unit_when(&self.root, &self.dir, "learns", LIMIT, learns).await?;
        tokio::time::sleep(moment).await;
        client.post(&self.path("cancel"), &json!({})).await?;
        let acknowledged = Utc::now();
        self.files = self.files_now()?;
        unit_when(&self.root, &self.dir, "is cancelled", LIMIT, |it| {
            state(it) == "cancelled"
        })
        .await?;
        let until_ended = seconds(acknowledged, Utc::now());
        unit_when(&self.root, next, "begins", LIMIT, |_| true).await?;
        let began = self.began(next)?.context("it says when it began")?;
        Ok(Cancelled {
            until_ended,
            until_free: seconds(acknowledged, began),
        })
    }

    fn path(&self, wish: &str) -> String {
        format!("/api/v1/jobs/train/{}/{wish}", self.dir)
    }

    fn began(&self, dir: &str) -> Result<Option<DateTime<Utc>>> {
        let unit = read(&unit_path(&self.root, "train", dir, 0))?.unwrap_or_default();
        Ok(attempts(&unit).first().and_then(|it| time(&it["began"])))
    }

    /// The files of the project itself; its copies of cells lie deeper and are no result.
    fn files_now(&self) -> Result<BTreeSet<String>> {
        let folder = self.root.join("projects").join(&self.dir);
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(&folder).context("list a project")? {
            let path = entry.context("a file of a project")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What is being written ends on something else until it is whole.
            if path.is_file() && (name.ends_with(".json") || !name.contains(".json")) {
                files.insert(name.into_owned());
            }
        }
        Ok(files)
    }

    /// What there is now and must not be.
    async fn late(&self, client: &Client) -> Result<Vec<String>> {
        let mut late = Vec::new();
        let job = client.job_of("train", &self.dir).await?;
        if state(&job) != "cancelled" {
            late.push(format!("{} is {}", self.dir, state(&job)));
        }
        for file in self.files_now()?.difference(&self.files) {
            late.push(format!("{} has {file}", self.dir));
        }
        let model = model_path(&self.root, self.mid);
        for path in [model.with_extension("safetensors.json"), model] {
            if path.exists() {
                late.push(format!("there is {}", path.display()));
            }
        }
        let asked = format!("/api/v1/models/{}", self.mid);
        let (status, _) = client.ask(Method::GET, &asked, &[], None).await?;
        if status.is_success() {
            late.push(format!("model {} is registered", self.mid));
        }
        Ok(late)
    }
}

/// Its step is told with heartbeats, as `epoch 3 of 30`.
fn learns(unit: &Value) -> bool {
    state(unit) == "leased" && unit["step"].as_str().is_some_and(|it| it.contains("epoch"))
}

/// What came after all, over some time.
async fn nothing_comes(
    client: &Client,
    trainings: &[Training],
    watched: Duration,
) -> Result<BTreeSet<String>> {
    let begun = Instant::now();
    let mut late = BTreeSet::new();
    while begun.elapsed() < watched {
        for training in trainings {
            late.extend(training.late(client).await?);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(late)
}

/// A training that has learned something is stopped: it is done, with what it has.
async fn stop(figures: &mut Figures, client: &Client, training: &Training) -> Result<()> {
    unit_when(&training.root, &training.dir, "learns", LIMIT, learns).await?;
    let begun = Instant::now();
    unit_when(
        &training.root,
        &training.dir,
        "has something to keep",
        LIMIT,
        |it| {
            let checkpoints = it["checkpoints"].as_array();
            checkpoints.is_some_and(|it| !it.is_empty()) || begun.elapsed() > KEEPS
        },
    )
    .await?;
    let (status, said) = client
        .ask(Method::POST, &training.path("stop"), &[], Some(&json!({})))
        .await?;
    let asked = Instant::now();
    figures.holds("cancel.stop.is_acknowledged", status.is_success());
    if !status.is_success() {
        say(format_args!(
            "  stop: {status} {}",
            String::from_utf8_lossy(&said)
        ));
        client.post(&training.path("cancel"), &json!({})).await?;
    }
    let ends = ["done", "failed", "cancelled"];
    let job = client
        .job_of_in("train", &training.dir, &ends, LIMIT)
        .await?;
    figures.holds("cancel.stop.is_done", state(&job) == "done");
    figures.told("cancel.stop.seconds", asked.elapsed().as_secs_f64(), "s");
    let facts = &job["report"]["card"]["training"];
    let early = facts["ended_early"].clone();
    figures.holds("cancel.stop.is_marked_early", early.is_string());
    figures.said("cancel.stop.ended_early", early, "");
    let n_epochs = job["report"]["epochs"].as_array().map_or(0, Vec::len);
    let is_some = (1..EPOCHS as usize).contains(&n_epochs);
    figures.told("cancel.stop.epochs", n_epochs as f64, "epochs");
    figures.holds("cancel.stop.keeps_the_epochs_so_far", is_some);
    let has_model = model_path(&training.root, training.mid).exists();
    figures.holds("cancel.stop.has_a_model", has_model);
    Ok(())
}
