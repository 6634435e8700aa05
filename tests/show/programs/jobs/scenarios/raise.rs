//! Thousands of units wait, and a job behind them is raised: it is the next.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Figures;
use cellmill_tests::show::place::say;
use cellmill_tests::show::wait::wait_until;
use chrono::{DateTime, Utc};

use super::many_units::{ONE_IMAGE, n_open, prepare, submit, wish};
use crate::lab::Lab;
use crate::programs::{Server, Worker};
use crate::records::{attempts, read, seconds, time, unit_paths};

const LIMIT: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(5);
/// Jobs that wait and are never raised.
const WAITING: [&str; 2] = ["Many", "More"];
/// Jobs of two units that are raised one after the other.
const RAISED: [&str; 5] = ["Raised0", "Raised1", "Raised2", "Raised3", "Raised4"];
/// Units that the worker does while others are raised: more than that wait from first to last.
const SPARE: u32 = 60;
/// A unit of 0.4 s that cuts nothing: long enough that a wish falls into the middle of it.
const PROGRAM: &str = "read job; echo batchid,medicalid,imgid,imgname,imgpath,p1n0,parameter_gray,parameter_size,parameter_type,parameter_mid,parameter_cache,cellpath,x1,y1,x2,y2,celltype,kx1,ky1,kx2,ky2,duplicate > \"$CELLMILL_FOLDER/outputs/cellslist.csv\"; sleep 0.4";

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("raise")?;
    let (half, all) = (lab.n_units / 2, lab.n_units + SPARE);
    let batches = [("many", half), ("more", all - half), ("raised", 2)];
    let root = prepare(lab.show, &place, &batches).await?;
    let server = Server::start(&lab.show.program, &root, "up", &[ONE_IMAGE]).await?;
    for (dir, (batch, _)) in WAITING.iter().zip(batches) {
        submit(&server.client, dir, batch).await?;
    }
    for dir in RAISED {
        submit(&server.client, dir, "raised").await?;
    }
    let exec = ["--kinds", "data", "--exec", PROGRAM];
    let worker = Worker::start(&root, "worker", &exec, &[ONE_IMAGE])?;

    let (mut overtaken, mut slowest, mut n_waiting) = (0, 0.0_f64, u64::MAX);
    for dir in RAISED {
        let raised = raise(&root, &server, dir).await?;
        say(format_args!("  {dir}: {raised:.3?}"));
        overtaken += raised.overtaken;
        slowest = slowest.max(raised.seconds);
        n_waiting = n_waiting.min(raised.n_waiting);
    }
    let wanted = f64::from(lab.n_units);
    figures.at_least("raise.waiting", n_waiting as f64, "units", wanted);
    figures.told("raise.raised", RAISED.len() as f64, "jobs");
    figures.exactly("raise.others_started_before", overtaken, "units", 0);
    figures.told("raise.until_it_starts", slowest, "s, at most");
    for dir in WAITING {
        wish(&server.client, dir, "cancel").await?;
    }
    worker.stop().await?;
    server.stop().await
}

#[derive(Debug)]
struct Raised {
    /// Units of other jobs that began after the acknowledgement and before the first of this one.
    overtaken: usize,
    /// From the acknowledgement until its first unit began.
    seconds: f64,
    n_waiting: u64,
}

async fn raise(root: &Path, server: &Server, dir: &str) -> Result<Raised> {
    // Just after a unit was begun: in the middle of being handed out, a unit belongs to nobody yet.
    let before = Utc::now();
    wait_until("the worker begins a unit", LIMIT, PAUSE, async || {
        let last = began(root, &WAITING)?.into_iter().max();
        Ok(last.filter(|it| *it > before))
    })
    .await?;
    let mut n_waiting = 0;
    for other in WAITING {
        n_waiting += n_open(&server.client.job(other).await?);
    }
    wish(&server.client, dir, "raise").await?;
    let acknowledged = Utc::now();
    let job = server
        .client
        .job_in(dir, &["done", "failed"], LIMIT)
        .await?;
    ensure!(job["state"] == "done", "{dir} failed: {}", job["error"]);
    let first = began(root, &[dir])?.into_iter().min();
    let first = first.context("a raised unit says when it began")?;
    let others = began(root, &WAITING)?;
    let is_between = |it: &&DateTime<Utc>| acknowledged < **it && **it < first;
    Ok(Raised {
        overtaken: others.iter().filter(is_between).count(),
        seconds: seconds(acknowledged, first),
        n_waiting,
    })
}

/// When the attempts of some jobs began.
fn began(root: &Path, dirs: &[&str]) -> Result<Vec<DateTime<Utc>>> {
    let mut began = Vec::new();
    for dir in dirs {
        for path in unit_paths(root, dir)?.values() {
            let unit = read(path)?.unwrap_or_default();
            began.extend(attempts(&unit).iter().filter_map(|it| time(&it["began"])));
        }
    }
    Ok(began)
}
