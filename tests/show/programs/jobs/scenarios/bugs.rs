//! Bugs planted in the simulation: the checker bites.

use std::process::Command;

use anyhow::{Context as _, Result};
use cellmill_tests::show::Figures;
use cellmill_tests::show::http::text;
use cellmill_tests::show::place::say;
use serde_json::Value;

use crate::lab::{beside_this_one, heard};

const LIMIT: u64 = 10_000;
const LEAST_BUGS: f64 = 12.0;

pub(super) async fn run(figures: &mut Figures) -> Result<()> {
    let mut command = Command::new(beside_this_one("simulate-jobs")?);
    let limit = LIMIT.to_string();
    command.args(["bugs", "--json", "--schedules", &limit]);
    // It ends with 1 when one is not found: its line says so.
    let (_, said) = heard(command).await?;
    let mut needed = Vec::new();
    let mut n_bugs = 0_usize;
    for line in said.lines() {
        let bug: Value = serde_json::from_str(line).context("a bug that is no JSON")?;
        n_bugs += 1;
        let after = bug["after"].as_u64();
        let shown = after.map_or("not found".to_owned(), |it| format!("{it} schedules"));
        say(format_args!(
            "  {}: {shown}, {}",
            text(&bug["name"]),
            text(&bug["rule"])
        ));
        needed.extend(after);
    }
    figures.at_least("bugs.planted", n_bugs as f64, "bugs", LEAST_BUGS);
    figures.exactly("bugs.found", needed.len(), "bugs", n_bugs);
    let most = needed.iter().max().map_or(f64::NAN, |it| *it as f64);
    figures.at_most("bugs.most_schedules", most, "schedules", LIMIT as f64);
    Ok(())
}
