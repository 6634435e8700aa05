//! One run: processes over a root of their own, what is done to them, and what came of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};
use cellmill_tests::show::place::say;
use cellmill_tests::show::tree::Tree;
use cellmill_tests::show::wait::no_job_is_open;
use serde_json::json;

use super::check::{has_committed, most_attempts, problems};
use super::harm::{Harmed, cancel, do_harms, harm_server};
use super::plan::{Plan, ServerHarm};
use super::stage::Stage;
use super::watch::Watcher;
use super::{Base, Calm, JOBS, KEPT, N_WORKERS, OTHER};
use crate::records::{attempts, has_ended, job_path, read, seconds, time, unit_paths};
use crate::trainings::copy_root;

/// Everything ends by then.
const LIMIT: Duration = Duration::from_mins(4);
/// What those who woke last get to do something wrong: more than a heartbeat and a self-stop.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) problems: Vec<String>,
    pub(super) differences: Vec<String>,
    pub(super) tree: Option<Tree>,
    pub(super) calm: Calm,
    /// There were so many more in the plan: all jobs had ended before.
    pub(super) n_missed: usize,
    pub(super) harmed: Vec<Harmed>,
    pub(super) server: Option<ServerHarm>,
    pub(super) is_cancelled: bool,
    pub(super) n_zombie_commits: usize,
    pub(super) n_jobs_ended: usize,
    pub(super) most_attempts: u64,
    pub(super) n_looks: usize,
    took: Duration,
}

impl Ran {
    /// One that could not go on.
    pub(super) fn broken(error: &Error) -> Self {
        Self {
            problems: vec![format!("the run broke off: {error:#}")],
            ..Self::default()
        }
    }

    pub(super) fn print(&self, name: &str) {
        let n = |of: fn(&Harmed) -> bool| self.harmed.iter().filter(|it| of(it)).count();
        say(format_args!(
            "  {name}: {:.1} s, {} killed, {} frozen ({} zombies), {} of them before the commit, {:?}, cancelled: {}; {} problems, {} files differ",
            self.took.as_secs_f64(),
            n(|it| it.is_killed),
            n(|it| !it.is_killed),
            n(|it| it.is_zombie),
            n(|it| it.caught.is_before_commit),
            self.server,
            self.is_cancelled,
            self.problems.len(),
            self.differences.len()
        ));
        for it in self.problems.iter().chain(&self.differences).take(10) {
            say(format_args!("    {it}"));
        }
    }
}

pub(super) async fn one_run(base: &Base, plan: &Plan, place: &Path) -> Result<Ran> {
    let begun = Instant::now();
    let root = place.join("root");
    copy_root(&base.prepared, &root)?;
    let stage = Arc::new(Stage::new(&root, &base.program));
    let server = stage.new_server().await?;
    for _ in 0..N_WORKERS {
        stage.start_worker()?;
    }
    let watcher = Watcher::begin(&root);
    // 0: cells are looked for; 1: points are cut.
    for (dir, data_type) in [(KEPT, 0), (OTHER, 1)] {
        let wish = json!({
            "dir": dir, "batches": base.batches, "parameter_type": data_type, "parameter_cache": 0,
        });
        server.client.post("/api/v1/datasets", &wish).await?;
    }
    *stage.server.lock().await = Some(server);
    let harms = do_harms(Arc::clone(&stage), plan.harms.clone(), base.calm);
    let (harmed, served, is_cancelled, ended) = tokio::join!(
        harms,
        harm_server(&stage, plan.server, base.calm),
        cancel(&stage, plan.cancel_at, base.calm),
        stage.until_over(LIMIT),
    );
    let mut ran = Ran {
        harmed: harmed.context("harm workers")?,
        is_cancelled: is_cancelled.context("cancel")?,
        server: plan.server,
        ..Ran::default()
    };
    served.context("harm the server")?;
    if let Err(error) = ended {
        ran.problems.push(format!("{error:#}"));
    }
    if !ran.harmed.is_empty() {
        tokio::time::sleep(AFTERWARDS).await;
    }
    if let Err(error) = no_job_is_open(&root, LIMIT).await {
        ran.problems.push(format!("marks stay: {error:#}"));
    }
    let tree = Tree::still(&root, Tree::of_results, LIMIT).await?;
    let watched = watcher.end().await?;
    ran.n_looks = watched.n_looks;
    ran.problems.extend(watched.problems);
    stage.close().await.context("end everything")?;

    ran.problems.extend(problems(&root, ran.is_cancelled)?);
    for zombie in ran.harmed.iter().filter(|it| it.is_zombie) {
        ran.n_zombie_commits += usize::from(has_committed(zombie)?);
    }
    ran.n_jobs_ended = n_ended(&root)?;
    ran.most_attempts = most_attempts(&root)?;
    let root_text = root.to_string_lossy();
    let verified = base.program.run(&["verify", "--root", &root_text]).await?;
    if let Err(error) = verified.must_be_ok("verify") {
        ran.problems.push(format!("{error:#}"));
    }
    if base.tree.n_files() > 0 {
        ran.differences = base.tree.differences(&tree);
        let of_other = format!("datasets/{OTHER}/");
        let is_cancelled = ran.is_cancelled;
        ran.differences
            .retain(|it| !(is_cancelled && it.starts_with(&of_other)));
    }
    ran.tree = Some(tree);
    ran.calm = measured(&root)?;
    ran.n_missed = plan.harms.len() - ran.harmed.len();
    ran.took = begun.elapsed();
    Ok(ran)
}

fn n_ended(root: &Path) -> Result<usize> {
    let mut n = 0;
    for dir in JOBS {
        let job = read(&job_path(root, "data", dir))?;
        n += usize::from(job.is_some_and(|it| has_ended(&it)));
    }
    Ok(n)
}

/// Units and how long they took, from the last claim to the end.
fn measured(root: &Path) -> Result<Calm> {
    let mut times = Vec::new();
    for dir in JOBS {
        for path in unit_paths(root, dir)?.into_values() {
            let unit = read(&path)?.context("a unit is gone")?;
            let last = attempts(&unit).last();
            times.extend(last.and_then(|it| time(&it["began"]).zip(time(&it["ended"]))));
        }
    }
    let duration = |it: f64| Duration::from_secs_f64(it.max(0.0));
    let first = times.iter().map(|it| it.0).min();
    let last = times.iter().map(|it| it.1).max();
    let mut units: Vec<f64> = times.iter().map(|it| seconds(it.0, it.1)).collect();
    units.sort_by(f64::total_cmp);
    Ok(Calm {
        n_units: units.len(),
        unit: duration(units.get(units.len() / 2).copied().unwrap_or(0.0)),
        jobs: duration(
            first
                .zip(last)
                .map_or(0.0, |(first, last)| seconds(first, last)),
        ),
    })
}
