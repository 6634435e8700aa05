//! What must hold when a run is over, read from its root.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::http::{sha256_hex, text};
use serde_json::Value;

use super::harm::Harmed;
use super::{JOBS, OTHER};
use crate::records::{attempts, job_path, number, outputs, read, state, unit_paths};

/// What collect writes of a data set.
const RESULTS: [&str; 4] = ["cellslist.csv", "info2.json", "packs.json", "log.txt"];

/// What is wrong, in words.
pub(super) fn problems(root: &Path, is_cancelled: bool) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for dir in JOBS {
        let job = read(&job_path(root, "data", dir))?.context("a job is gone")?;
        let expected = if is_cancelled && dir == OTHER {
            "cancelled"
        } else {
            "done"
        };
        if state(&job) != expected {
            let error = text(&job["error"]);
            problems.push(format!(
                "{dir} is {} and not {expected}: {error}",
                state(&job)
            ));
        }
        for name in RESULTS {
            let is_there = root.join("datasets").join(dir).join(name).exists();
            if is_there != (expected == "done") {
                problems.push(format!("{dir} is {expected}; has it {name}? {is_there}"));
            }
        }
        let units = unit_paths(root, dir)?;
        let n_units = number(&job["units"], "count") as usize;
        if expected == "done" && units.len() != n_units {
            problems.push(format!(
                "{dir} has {} records of {n_units} units",
                units.len()
            ));
        }
        for (name, path) in units {
            let unit = read(&path)?.context("a unit is gone")?;
            if expected == "done" && state(&unit) != "done" {
                problems.push(format!("{dir}/{name} is {}", state(&unit)));
            }
            for output in outputs(&unit) {
                problems.extend(problem_of_output(root, output)?);
            }
        }
    }
    Ok(problems)
}

/// An output must be there with the bytes that the commit names.
fn problem_of_output(root: &Path, output: &Value) -> Result<Option<String>> {
    let key = text(&output["key"]);
    let path = root.join(&key);
    if !path.exists() {
        return Ok(Some(format!("output {key} is missing")));
    }
    let bytes = fs::read(&path).with_context(|| format!("read {key}"))?;
    let is_same = sha256_hex(&bytes) == text(&output["sha256"]);
    Ok((!is_same).then(|| format!("output {key} has other bytes than the commit says")))
}

/// Did somebody commit whose unit another had taken over?
pub(super) fn has_committed(zombie: &Harmed) -> Result<bool> {
    let unit = read(&zombie.caught.unit)?.context("a unit is gone")?;
    let mine = zombie.caught.attempt;
    let folder = format!("/{mine:05}/");
    let is_named = outputs(&unit)
        .iter()
        .any(|it| text(&it["key"]).contains(&folder));
    let of_mine = attempts(&unit).iter().find(|it| it["attempt"] == mine);
    Ok(is_named || of_mine.is_some_and(|it| it["how"] == "committed"))
}

/// The most attempts of one unit.
pub(super) fn most_attempts(root: &Path) -> Result<u64> {
    let mut most = 0;
    for dir in JOBS {
        for path in unit_paths(root, dir)?.into_values() {
            let unit = read(&path)?.context("a unit is gone")?;
            most = most.max(number(&unit, "attempt"));
        }
    }
    Ok(most)
}
