//! Many schedules of the simulation: nothing is broken, and everything that can happen did.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use cellmill_tests::show::Figures;
use cellmill_tests::show::http::text;
use cellmill_tests::show::place::say;
use serde_json::{Map, Value};

use crate::lab::{Lab, beside_this_one, heard};

/// Those that the figures name; the rest is counted.
const NAMED: usize = 10;
/// Of jobs and units, in the order of their lives.
const STATES: [&str; 11] = [
    "absent",
    "assembling",
    "waiting",
    "queued",
    "leased",
    "silent",
    "running",
    "collecting",
    "done",
    "failed",
    "cancelled",
];

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(beside_this_one("simulate-jobs")?);
    command
        .args(["schedules", "--json"])
        .args(["--schedules", &lab.n_schedules.to_string()])
        .args(["--threads", &threads.to_string()]);
    // It ends with 1 when something was broken: the report says what.
    let (code, said) = heard(command).await?;
    let report: Value = serde_json::from_str(&said)
        .with_context(|| format!("the simulation ended with {code:?} and without a report"))?;
    let count = |name: &str| report[name].as_u64().map(|it| it as usize);
    let value = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);

    let n_wanted = lab.n_schedules as usize;
    let n_run = count("schedules").unwrap_or(0);
    figures.exactly("schedules.schedules", n_run, "schedules", n_wanted);
    let n_broken = count("n_failed").context("the report counts no violations")?;
    figures.exactly("schedules.violations", n_broken, "schedules", 0);
    for it in list(&report["failed"]).iter().take(NAMED) {
        say(format_args!("  seed {}: {}", it["seed"], text(&it["what"])));
    }
    figures.at_least(
        "schedules.store_calls",
        value("median_calls"),
        "calls, median",
        200.0,
    );
    figures.at_least(
        "schedules.faults",
        value("median_faults"),
        "faults, median",
        2.0,
    );
    figures.told(
        "schedules.with_two_faults_or_more",
        value("share_of_two_faults"),
        "share",
    );
    figures.exactly(
        "schedules.workers",
        count("workers").unwrap_or(0),
        "workers",
        3,
    );
    for name in ["jobs", "units"] {
        say(format_args!("  {name}: how often an event met a state"));
        say(table(&report[name]["counts"]));
    }
    let missing = report["missing"]
        .as_array()
        .context("the report names no missing cells")?;
    for it in missing {
        say(format_args!("  never met: {}", text(it)));
    }
    figures.exactly(
        "schedules.reachable_and_not_met",
        missing.len(),
        "cells of the tables",
        0,
    );
    figures.told(
        "schedules.virtual_time",
        value("median_virtual_s"),
        "s, median",
    );
    figures.told("schedules.seconds", value("seconds"), "s");
    figures.told("schedules.threads", threads as f64, "threads");
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Events in rows, states in columns.
fn table(counts: &Value) -> String {
    let none = Map::new();
    let events = counts.as_object().unwrap_or(&none);
    let rows = || events.values().filter_map(Value::as_object);
    let is_met = |state: &&str| rows().any(|it| it.contains_key(*state));
    let states: Vec<&str> = STATES.into_iter().filter(is_met).collect();
    let line = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        cells.fold(format!("    {name:<26}"), |mut line, cell| {
            // Writing into a text does not fail.
            let _ = write!(line, "{cell:>11}");
            line
        })
    };
    let mut lines = vec![line("", &mut states.iter().map(|it| (*it).to_owned()))];
    for (event, row) in events {
        let cell = |state: &&str| {
            row[*state]
                .as_u64()
                .map_or(".".to_owned(), |it| it.to_string())
        };
        lines.push(line(event, &mut states.iter().map(cell)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_shows_what_never_met() {
        let counts = json!({"cancel": {"done": 2}, "raise": {"queued": 31}});
        let table = table(&counts);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|it| it.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows,
            [
                vec!["queued", "done"],
                vec!["cancel", ".", "2"],
                vec!["raise", "31", "."]
            ]
        );
    }
}
