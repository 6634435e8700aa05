//! Thousands of waiting units and 1, 2, 4 workers; the template's own scaling expression on what was measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cellmill_tests::aws::functions::configure;
use cellmill_tests::aws::scaling::{Moment, Policy, Replay, Task};
use cellmill_tests::aws::stack::repository;
use cellmill_tests::aws::{Door, Stack, Worker};
use cellmill_tests::show::Figures;
use cellmill_tests::show::http::text;
use cellmill_tests::show::place::say;
use reqwest::Method;
use serde_json::Value;

use crate::flow::{DATASET, TRAINED, dataset, define_classes, import};
use crate::lab::Lab;
use crate::material::{objects, photographs};
use crate::settled::{queues_are_empty, sweep};

const LIMIT: Duration = Duration::from_mins(30);
const WORKERS: [usize; 3] = [1, 2, 4];
/// How long each number of workers is watched.
const WATCHED: Duration = Duration::from_mins(1);
const QUICK_WATCHED: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_secs(2);
/// The cells of one case: a training of some tens of seconds.
const FEW: &str = "Few";
const SHORT: [&str; 4] = ["--scale", "small", "--epochs", "8"];
/// The most tasks that the replay may want.
const MOST: f64 = 20.0;
/// The class whose policy is taken. Those of the other class are the same lines.
const CLASS: &str = "Cpu";

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("scaling")?;
    let (n, cases) = (
        lab.n_units.to_string(),
        (lab.n_units / 100).max(1).to_string(),
    );
    let more = ["--images", &n, "--cases", &cases, "--small"];
    let folder = lab.show.synthetic(&place.join("data"), &more).await?;
    let stack = lab.stack().await?;
    let door = Door::of_stack(&lab.show.program, &stack)?;
    // An image a unit: as many units as images.
    let assemble = stack.function("assemble");
    let one = [("CELLMILL_IMAGES_PER_UNIT", "1")];
    configure(&stack.unseen(), &assemble, &one).await?;
    define_classes(&door, &folder, &place.join("classes")).await?;
    stack.bucket().put_all(objects(&folder)?).await?;
    queues_are_empty(&stack, LIMIT).await?;
    let args = ["dataset", "create", "--type", "1", "--dir", DATASET];
    let batches: Vec<&str> = folder
        .batches()
        .iter()
        .flat_map(|it| ["--batch", *it])
        .collect();
    door.json(&[&args[..], &batches].concat()).await?;
    let job = wait_for_units(&door).await?;
    let n_units = job["units"]["count"].as_u64().unwrap_or(0) as usize;
    figures.exactly("scaling.units", n_units, "units", lab.n_units as usize);

    let watched = if lab.show.options.quick {
        QUICK_WATCHED
    } else {
        WATCHED
    };
    let begun = Instant::now();
    let mut series = vec![moment(&stack, &door, begun, &[]).await?];
    let mut workers: Vec<Worker> = Vec::new();
    for wanted in WORKERS {
        while workers.len() < wanted {
            let name = format!("worker-{}", workers.len());
            workers.push(lab.worker(&stack, &name, &place).await?);
        }
        let before = n_ended(&door).await?;
        let since = Instant::now();
        while since.elapsed() < watched {
            tokio::time::sleep(PAUSE).await;
            series.push(moment(&stack, &door, begun, &workers).await?);
        }
        let n = n_ended(&door).await? - before;
        let rate = n as f64 / since.elapsed().as_secs_f64();
        figures.told(
            &format!("scaling.units_per_second.{wanted}_workers"),
            rate,
            "units/s",
        );
    }
    // To its end: that is where tasks are taken away.
    while !has_ended(&door, &format!("data/{DATASET}")).await? {
        tokio::time::sleep(PAUSE).await;
        series.push(moment(&stack, &door, begun, &workers).await?);
        anyhow::ensure!(begun.elapsed() < LIMIT, "the units do not end");
    }
    // One long unit among idle workers: the policy wants fewer of them, and must not take this one.
    let few = photographs(lab.show, 1, &place.join("few"))?;
    import(&door, &few.path).await?;
    dataset(&door, FEW, &few.batches()).await?;
    let train = ["train", FEW, "--dir", TRAINED, "--seed", "1", "--no-wait"];
    door.json(&[&train[..], &SHORT].concat()).await?;
    while !has_ended(&door, &format!("train/{TRAINED}")).await? {
        tokio::time::sleep(PAUSE / 4).await;
        series.push(moment(&stack, &door, begun, &workers).await?);
        anyhow::ensure!(begun.elapsed() < LIMIT, "the training does not end");
    }
    // A worker stays protected for a while in which it may find the next unit.
    while workers.iter().any(|it| it.agent.is_protected()) {
        tokio::time::sleep(PAUSE).await;
        anyhow::ensure!(begun.elapsed() < LIMIT, "idle workers stay protected");
    }
    series.push(moment(&stack, &door, begun, &workers).await?);
    judge(figures, &series)?;
    for worker in workers {
        worker.stop().await?;
    }
    stack.down().await.map(drop)
}

fn judge(figures: &mut Figures, series: &[Moment]) -> Result<()> {
    let template = repository().join("infra/template.yaml");
    let template = std::fs::read_to_string(&template).context("read the template")?;
    let mut policy = Policy::read(&template, CLASS)?;
    let cooldown = policy.scale_in_cooldown_s;
    figures.told("scaling.scale_in_cooldown", cooldown, "s");
    // Stricter than it is: any moment may be one at which tasks are taken away.
    policy.scale_in_cooldown_s = 0.0;
    let replay = Replay { policy, most: MOST };
    figures.said("scaling.expression", replay.policy.text.clone().into(), "");
    figures.told(
        "scaling.target",
        replay.policy.target,
        "units for each worker",
    );
    let replayed = replay.run(series);
    figures.told("scaling.moments", series.len() as f64, "moments");
    let n_held = |it: &Moment| it.tasks.iter().filter(|it| it.holds_unit).count();
    let n_held: usize = series.iter().map(n_held).sum();
    // Were nobody ever seen with a unit, the rest would say nothing.
    figures.at_least("scaling.seen_with_a_unit", n_held as f64, "workers", 1.0);
    let highest = replayed.desired.iter().copied().fold(0.0, f64::max);
    figures.at_least("scaling.most_wanted", highest, "workers", MOST);
    let last = replayed.desired.last().copied().unwrap_or(f64::NAN);
    figures.at_most("scaling.wanted_at_the_end", last, "workers", 0.0);
    let scale_ins = replayed.scale_ins as f64;
    figures.at_least("scaling.wanted_fewer_workers", scale_ins, "moments", 1.0);
    let ended = replayed.ended as f64;
    figures.at_least("scaling.workers_ended", ended, "workers", 1.0);
    for (name, n) in [
        ("workers_ended_with_a_unit", replayed.ended_with_unit),
        (
            "workers_unprotected_with_a_unit",
            replayed.unprotected_with_unit,
        ),
    ] {
        figures.exactly(&format!("scaling.{name}"), n, "workers", 0);
    }
    let mut wanted = replayed.desired;
    wanted.dedup();
    say(format_args!("  wanted {wanted:?}"));
    Ok(())
}

async fn wait_for_units(door: &Door) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let job = door.get(&format!("/api/v1/jobs/data/{DATASET}")).await?;
        if job["state"] == "queued" || job["state"] == "running" {
            return Ok(job);
        }
        anyhow::ensure!(
            job["state"] == "assembling" && begun.elapsed() < LIMIT,
            "the job is {}",
            job["state"]
        );
        tokio::time::sleep(PAUSE).await;
    }
}

async fn has_ended(door: &Door, job: &str) -> Result<bool> {
    let job = door.get(&format!("/api/v1/jobs/{job}")).await?;
    anyhow::ensure!(job["state"] != "failed", "a job failed: {}", job["error"]);
    Ok(job["state"] == "done")
}

async fn n_ended(door: &Door) -> Result<usize> {
    let job = door.get(&format!("/api/v1/jobs/data/{DATASET}")).await?;
    let n = |name: &str| job["units"][name].as_u64().unwrap_or(0);
    Ok((n("done") + n("failed")) as usize)
}

/// What the janitor tells of the load, and of each worker whether it holds a unit and whether it is protected.
async fn moment(stack: &Stack, door: &Door, begun: Instant, workers: &[Worker]) -> Result<Moment> {
    let swept = sweep(stack, "jobs").await?;
    let load = |name: &str| swept["loads"]["cpu"][name].as_f64().unwrap_or(0.0);
    // Looked at before and after: who holds the same unit both times held it all the while.
    let before = holders(door).await?;
    let protected: Vec<bool> = workers.iter().map(|it| it.agent.is_protected()).collect();
    let after = holders(door).await?;
    let holds = |id: &str| before.iter().any(|it| it.1 == id && after.contains(it));
    let tasks = workers
        .iter()
        .zip(protected)
        .map(|(worker, is_protected)| Task {
            is_protected,
            holds_unit: holds(&worker.id),
        });
    Ok(Moment {
        seconds: begun.elapsed().as_secs_f64(),
        waiting: load("waiting"),
        leased: load("leased"),
        tasks: tasks.collect(),
    })
}

/// Units that are worked on, and by whom.
async fn holders(door: &Door) -> Result<Vec<(String, String)>> {
    let mut holders = Vec::new();
    for job in [format!("data/{DATASET}"), format!("train/{TRAINED}")] {
        let path = format!("/api/v1/jobs/{job}");
        let (status, view) = door.ask(Method::GET, &path, &[], None).await?;
        if !status.is_success() {
            continue;
        }
        let running = view["running"].as_array().into_iter().flatten();
        holders.extend(running.map(|it| (format!("{job}/{}", it["unit"]), text(&it["owner"]))));
    }
    Ok(holders)
}
