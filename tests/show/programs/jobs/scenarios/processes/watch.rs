//! The rules that every look at the records of a run must agree with, and who looks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::JOBS;
use crate::records::{attempts, job_path, number, outputs, read, state, unit_paths};

const LOOK: Duration = Duration::from_millis(10);

/// The last look, and what was wrong in any.
#[derive(Debug, Default)]
pub(super) struct Watched {
    jobs: BTreeMap<String, Value>,
    units: BTreeMap<PathBuf, Value>,
    pub(super) problems: Vec<String>,
    pub(super) n_looks: usize,
}

impl Watched {
    /// Looks at all records of a root once.
    pub(super) fn look(&mut self, root: &Path) -> Result<()> {
        self.n_looks += 1;
        for dir in JOBS {
            if let Some(job) = read(&job_path(root, "data", dir))? {
                self.see_job(dir, job);
            }
            for path in unit_paths(root, dir)?.into_values() {
                if let Some(unit) = read(&path)? {
                    self.see_unit(path, unit);
                }
            }
        }
        Ok(())
    }

    fn see_job(&mut self, dir: &str, now: Value) {
        if let Some(before) = self.jobs.get(dir) {
            let states = [state(before), state(&now)];
            if before == &now {
                return;
            }
            if !may_follow(states) {
                self.problems
                    .push(format!("{dir} was {} and is {}", states[0], states[1]));
            }
        }
        self.jobs.insert(dir.to_owned(), now);
    }

    fn see_unit(&mut self, path: PathBuf, now: Value) {
        let before = self.units.get(&path);
        if before == Some(&now) {
            return;
        }
        for broken in broken_rules(before, &now) {
            let told = format!("{}: {broken}", path.display());
            self.problems.push(told);
        }
        self.units.insert(path, now);
    }
}

/// Jobs only go on, and stay what they ended as.
fn may_follow([before, now]: [&str; 2]) -> bool {
    let place = |it: &str| match it {
        "assembling" => 0,
        "queued" => 1,
        "running" => 2,
        "collecting" => 3,
        _ => 4,
    };
    match (before, now) {
        ("done" | "failed" | "cancelled", now) => before == now,
        ("collecting", now) => matches!(now, "collecting" | "done" | "failed"),
        _ => place(before) <= place(now) && now != "failed",
    }
}

fn broken_rules(before: Option<&Value>, now: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let progress = |it: &Value| (number(it, "attempt"), number(it, "percent"));
    if let Some(before) = before {
        if matches!(state(before), "done" | "cancelled") {
            broken.push(format!("it was {} and was written again", state(before)));
        }
        let (was, is) = (progress(before), progress(now));
        if is < was {
            broken.push(format!("(attempt, percent) went from {was:?} to {is:?}"));
        }
    }
    let numbers: Vec<u64> = attempts(now)
        .iter()
        .map(|it| number(it, "attempt"))
        .collect();
    if !numbers.iter().copied().eq(1..=number(now, "attempt")) {
        broken.push(format!("its attempts are {numbers:?}"));
    }
    let n_commits = attempts(now)
        .iter()
        .filter(|it| it["how"] == "committed")
        .count();
    let is_done = state(now) == "done";
    if n_commits != usize::from(is_done) {
        broken.push(format!("it is {} with {n_commits} commits", state(now)));
    }
    if outputs(now).is_empty() == is_done {
        broken.push(format!(
            "it is {} with {} outputs",
            state(now),
            outputs(now).len()
        ));
    }
    let open = attempts(now)
        .iter()
        .filter(|it| it["ended"].is_null())
        .count();
    if open != usize::from(state(now) == "leased") {
        broken.push(format!("it is {} with {open} open attempts", state(now)));
    }
    broken
}

/// Looks again and again until it is told to end.
#[derive(Debug)]
pub(super) struct Watcher {
    is_over: Arc<AtomicBool>,
    looking: JoinHandle<Result<Watched>>,
}

impl Watcher {
    pub(super) fn begin(root: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (until, root) = (Arc::clone(&is_over), root.to_owned());
        let looking = tokio::spawn(async move {
            let mut watched = Watched::default();
            while !until.load(Ordering::Relaxed) {
                watched.look(&root)?;
                tokio::time::sleep(LOOK).await;
            }
            watched.look(&root)?;
            Ok(watched)
        });
        Self { is_over, looking }
    }

    pub(super) async fn end(self) -> Result<Watched> {
        self.is_over.store(true, Ordering::Relaxed);
        self.looking.await.context("a watcher broke off")?
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn leased(attempt: u64, percent: u64) -> Value {
        let attempts: Vec<Value> = (1..=attempt)
            .map(|it| {
                let ended = if it == attempt {
                    Value::Null
                } else {
                    json!("then")
                };
                json!({"attempt": it, "ended": ended, "how": "lease lost"})
            })
            .collect();
        json!({"state": "leased", "attempt": attempt, "percent": percent, "attempts": attempts})
    }

    fn done() -> Value {
        let mut unit = leased(2, 100);
        unit["state"] = json!("done");
        unit["outputs"] = json!([{"name": "rows"}]);
        unit["attempts"][1] = json!({"attempt": 2, "ended": "now", "how": "committed"});
        unit
    }

    #[test]
    fn a_unit_that_goes_on_breaks_no_rule() {
        let ways = [leased(1, 0), leased(1, 50), leased(2, 0), done()];
        for pair in ways.windows(2) {
            assert_eq!(broken_rules(Some(&pair[0]), &pair[1]), Vec::<String>::new());
        }
    }

    #[test]
    fn what_must_not_be_is_told() {
        let mut twice = done();
        twice["attempts"][0]["how"] = json!("committed");
        let mut empty = done();
        empty["outputs"] = json!([]);
        for (before, now, told) in [
            (leased(2, 0), leased(1, 90), "went from (2, 0) to (1, 90)"),
            (leased(1, 50), leased(1, 49), "went from"),
            (done(), done(), "written again"),
            (leased(2, 0), twice, "2 commits"),
            (leased(2, 0), empty, "0 outputs"),
        ] {
            let broken = broken_rules(Some(&before), &now);
            assert!(
                broken.iter().any(|it| it.contains(told)),
                "{told}: {broken:?}"
            );
        }
    }

    #[test]
    fn jobs_go_forwards_only() {
        assert!(may_follow(["queued", "collecting"]) && may_follow(["running", "cancelled"]));
        for states in [
            ["cancelled", "done"],
            ["done", "running"],
            ["collecting", "cancelled"],
            ["running", "queued"],
            ["running", "failed"],
        ] {
            assert!(!may_follow(states), "{states:?}");
        }
    }
}
