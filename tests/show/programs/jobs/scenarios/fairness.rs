//! A large job and a small one behind it: they share the worker, and the small one does not wait for the end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Figures;
use cellmill_tests::show::place::say;
use chrono::{DateTime, Utc};

use super::many_units::{ONE_IMAGE, prepare, submit, wish};
use crate::lab::Lab;
use crate::programs::{Server, Setting, Worker};
use crate::records::{attempts, read, seconds, time, unit_paths};
use crate::trainings::copy_root;

const LIMIT: Duration = Duration::from_hours(1);
const MANY: &str = "Many";
const FEW: &str = "Few";
/// One unit of twenty is of the small job.
const SHARE: u32 = 20;
/// What one worker needs; the setting's default is for a fleet.
const SMALL_WINDOW: u32 = 8;
const DEFAULT_WINDOW: u32 = 64;
/// What both may have while both have units.
const FAIR: [f64; 2] = [0.35, 0.65];

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("fairness")?;
    let n_few = lab.n_units / SHARE;
    let batches = [("many", lab.n_units - n_few), ("few", n_few)];
    let root = prepare(lab.show, &place, &batches).await?;
    figures.told("fairness.units", f64::from(lab.n_units), "units");
    figures.told("fairness.units_of_the_small_job", f64::from(n_few), "units");

    // To its end with the window of a small fleet; with the default until the small job has ended.
    for (window, is_whole) in [(SMALL_WINDOW, true), (DEFAULT_WINDOW, false)] {
        let at = place.join(format!("window-{window}")).join("root");
        copy_root(&root, &at)?;
        let order = shared(lab, &at, window, is_whole).await?;
        judge(figures, &order, window, n_few, is_whole)?;
        lab.show.clear(&at)?;
    }
    Ok(())
}

/// A unit that ended, and of which job it is.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: DateTime<Utc>,
    is_few: bool,
}

/// Both jobs and one worker; the units in the order in which they ended.
async fn shared(lab: &Lab<'_>, root: &Path, window: u32, is_whole: bool) -> Result<Vec<Ended>> {
    let window = window.to_string();
    let settings: [Setting<'_>; 2] = [ONE_IMAGE, ("CELLMILL_WINDOW", &window)];
    let server = Server::start(&lab.show.program, root, "up", &settings).await?;
    submit(&server.client, MANY, "many").await?;
    submit(&server.client, FEW, "few").await?;
    let worker = Worker::start(root, "worker", &["--kinds", "data"], &settings)?;
    let ends = ["done", "failed", "cancelled"];
    let few = server.client.job_in(FEW, &ends, LIMIT).await?;
    ensure!(few["state"] == "done", "{FEW} failed: {}", few["error"]);
    if is_whole {
        let many = server.client.job_in(MANY, &ends, LIMIT).await?;
        ensure!(many["state"] == "done", "{MANY} failed: {}", many["error"]);
    } else {
        wish(&server.client, MANY, "cancel").await?;
    }
    worker.stop().await?;
    server.stop().await?;

    let mut order = Vec::new();
    for (dir, is_few) in [(MANY, false), (FEW, true)] {
        for path in unit_paths(root, dir)?.values() {
            let unit = read(path)?.unwrap_or_default();
            let last = attempts(&unit).last().filter(|it| it["how"] == "committed");
            let at = last.and_then(|it| time(&it["ended"]));
            order.extend(at.map(|at| Ended { at, is_few }));
        }
    }
    order.sort_by_key(|it| it.at);
    Ok(order)
}

fn judge(
    figures: &mut Figures,
    order: &[Ended],
    window: u32,
    n_few: u32,
    is_whole: bool,
) -> Result<()> {
    let name = |figure: &str| format!("fairness.window_{window}.{figure}");
    let n_few = n_few as usize;
    for mark in [n_few / 2, n_few, n_few * 3 / 2, n_few * 2] {
        let share = share(order, mark);
        let figure = name(&format!("share_at_{mark}"));
        if is_whole {
            figures.within(&figure, share, "of ended units", FAIR);
        } else {
            figures.told(&figure, share, "of ended units");
        }
    }
    let last = order.iter().rposition(|it| it.is_few);
    let n_ended = last.context("no unit of the small job ended")? + 1;
    // Turn by turn; a window of each may go before.
    let most = (2 * n_few + 2 * window as usize) as f64;
    figures.at_most(
        &name("small_job_ended_after"),
        n_ended as f64,
        "units",
        most,
    );
    if is_whole {
        let (first, last) = (order[0].at, order[order.len() - 1].at);
        let rate = (order.len() - 1) as f64 / seconds(first, last);
        figures.told(&name("units_per_second"), rate, "units/s");
        let share_of_time = seconds(first, order[n_ended - 1].at) / seconds(first, last);
        figures.told(
            &name("small_job_ended_at"),
            share_of_time,
            "of the whole time",
        );
    }
    say(format_args!("  window {window}: {}", told(order, n_few)));
    Ok(())
}

/// The small job's share of the first `n` units that ended.
fn share(order: &[Ended], n: usize) -> f64 {
    let n_few = order.iter().take(n).filter(|it| it.is_few).count();
    n_few as f64 / n.min(order.len()) as f64
}

/// The share over time, for people.
fn told(order: &[Ended], n_few: usize) -> String {
    let step = (n_few / 4).max(1);
    let marks = (1..=12).map(|it| it * step);
    let shares: Vec<String> = marks
        .map(|it| format!("{it}: {:.2}", share(order, it)))
        .collect();
    shares.join(", ")
}
