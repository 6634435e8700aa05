//! What an import did: one value, shown as tables or as JSON.

use std::collections::BTreeMap;

use cellmill_api::views::KeyState;
use serde::Serialize;

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, Tone};

use super::listing::{Found, Skipped};

/// A file that did not get where it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub outcome: Outcome,
    pub code: String,
    pub reason: String,
}

/// How a file's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Never sent: its name or place can't be taken.
    Refused,
    /// Sent, and no usable image or CSV.
    Rejected,
    /// Other bytes lie under its key.
    Conflict,
    /// It could not be read or sent.
    Failed,
    /// Sent, and the server has not decided on it.
    Undecided,
    /// Left out on purpose: a symbolic link.
    Skipped,
}

/// A row of a CSV that is not in a label, or a remark on one that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowProblem {
    pub key: String,
    pub line: u64,
    pub code: String,
    pub reason: String,
}

/// The summary of an import.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub url: String,
    /// The class table that was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<String>,
    pub n_images: u64,
    pub n_points: u64,
    pub n_ignored: u64,
    pub n_sent: u64,
    pub n_stored_before: u64,
    pub bytes_sent: u64,
    /// Large files of which an earlier import had sent parts.
    pub n_resumed: u64,
    /// Parts of those files that were there, and did not have to be sent again.
    pub n_parts_there: u64,
    /// All parts of those files.
    pub n_parts_resumed: u64,
    pub bytes_stored_before: u64,
    /// Keys of CSVs that took the place of an older one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// Final states of the images, by name of the state; empty without waiting.
    pub images: BTreeMap<&'static str, u64>,
    /// Final states of the CSVs.
    pub points: BTreeMap<&'static str, u64>,
    pub rows_good: u64,
    pub rows_rejected: u64,
    /// Keys that a dry run would send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_send: Vec<String>,
    pub problems: Vec<Problem>,
    pub rows: Vec<RowProblem>,
    pub elapsed_ms: u64,
}

impl Problem {
    pub(super) fn of_skipped(skipped: &Skipped) -> Self {
        Self {
            file: skipped.path.display().to_string(),
            key: None,
            outcome: if skipped.is_failure {
                Outcome::Failed
            } else {
                Outcome::Skipped
            },
            code: skipped.code.to_owned(),
            reason: skipped.reason.clone(),
        }
    }

    pub(super) fn refused(found: &Found, code: &str, reason: String) -> Self {
        Self {
            file: found.path.display().to_string(),
            key: None,
            outcome: Outcome::Refused,
            code: code.to_owned(),
            reason,
        }
    }
}

/// How many problems and rows a person is shown.
const SHOWN: usize = 20;

impl Report {
    /// What the program ends with: a failure weighs more than a refusal.
    pub fn exit(&self) -> Exit {
        let any = |outcomes: &[Outcome]| {
            self.problems
                .iter()
                .any(|it| outcomes.contains(&it.outcome))
        };
        if any(&[Outcome::Failed, Outcome::Undecided]) {
            Exit::Failed
        } else if any(&[Outcome::Refused, Outcome::Rejected, Outcome::Conflict]) {
            Exit::SomeRejected
        } else {
            Exit::Ok
        }
    }

    pub(super) fn show(&self, console: &mut Console) -> Result<(), Error> {
        console.line(self.summary(console))?;
        self.show_problems(console)?;
        self.show_rows(console)
    }

    pub(super) fn summary(&self, console: &Console) -> String {
        let mut table = Table::new(["", "files", ""]);
        let (sent, before) = if self.dry_run {
            ("would be sent", "are stored already")
        } else {
            ("sent", "stored before")
        };
        let mut row = |what: &str, n: u64, more: String| {
            table.row([what.to_owned(), n.to_string(), more]);
        };
        row(sent, self.n_sent, table::bytes(self.bytes_sent));
        if self.n_resumed > 0 {
            let (there, all) = (self.n_parts_there, self.n_parts_resumed);
            let more = format!("{there} of {all} parts were there");
            row("resumed", self.n_resumed, more);
        }
        row(
            before,
            self.n_stored_before,
            table::bytes(self.bytes_stored_before),
        );
        if !self.replaced.is_empty() {
            let what = if self.dry_run {
                "would replace an older CSV"
            } else {
                "replaced an older CSV"
            };
            let first = self.replaced.first().cloned().unwrap_or_default();
            let more = match self.replaced.len() {
                1 => first,
                _ => format!("{first}, ..."),
            };
            row(what, self.replaced.len() as u64, more);
        }
        for (what, states) in [("images", &self.images), ("points", &self.points)] {
            for (state, n) in states {
                let tone = match *state {
                    "ok" | "applied" => Tone::Good,
                    "rejected" | "conflict" => Tone::Bad,
                    _ => Tone::Busy,
                };
                let name = console.paint(tone, state);
                let rows = if *state == "applied" {
                    format!("{} rows in labels", self.rows_good)
                } else {
                    String::new()
                };
                row(&format!("{what} {name}"), *n, rows);
            }
        }
        if self.rows_rejected > 0 {
            row(
                "rows rejected",
                self.rows_rejected,
                "rows of CSVs that are in no label".to_owned(),
            );
        }
        for (outcome, n) in self.outcomes() {
            let tone = match outcome {
                Outcome::Skipped => Tone::Plain,
                _ => Tone::Bad,
            };
            row(
                &console.paint(tone, outcome_name(outcome)),
                n,
                String::new(),
            );
        }
        table.render()
    }

    fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        let mut counts = BTreeMap::new();
        for problem in &self.problems {
            *counts.entry(problem.outcome).or_insert(0) += 1;
        }
        counts
    }

    pub(super) fn show_problems(&self, console: &mut Console) -> Result<(), Error> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["file", "outcome", "reason"]);
        for problem in self.problems.iter().take(SHOWN) {
            table.row([
                problem.file.clone(),
                outcome_name(problem.outcome).to_owned(),
                problem.reason.clone(),
            ]);
        }
        console.line("")?;
        console.line(table.render())?;
        and_more(console, self.problems.len())
    }

    fn show_rows(&self, console: &mut Console) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["csv", "line", "reason"]);
        for row in self.rows.iter().take(SHOWN) {
            table.row([row.key.clone(), row.line.to_string(), row.reason.clone()]);
        }
        console.line("")?;
        console.line(table.render())?;
        and_more(console, self.rows.len())
    }
}

fn and_more(console: &mut Console, n: usize) -> Result<(), Error> {
    match n.checked_sub(SHOWN) {
        Some(more) if more > 0 => {
            console.line(format_args!(" … and {more} more, all of them with --json"))
        }
        _ => Ok(()),
    }
}

pub(super) const fn state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Unknown => "unknown",
        KeyState::Expected => "expected",
        KeyState::Ok => "ok",
        KeyState::Rejected => "rejected",
        KeyState::Conflict => "conflict",
        KeyState::Applied => "applied",
        KeyState::Waiting => "waiting",
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Refused => "refused",
        Outcome::Rejected => "rejected",
        Outcome::Conflict => "conflict",
        Outcome::Failed => "failed",
        Outcome::Undecided => "undecided",
        Outcome::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        let problems = outcomes.iter().map(|&outcome| Problem {
            file: "x".to_owned(),
            key: None,
            outcome,
            code: "c".to_owned(),
            reason: "r".to_owned(),
        });
        Report {
            problems: problems.collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_failure_weighs_more_than_a_refusal_and_a_skipped_link_weighs_nothing() {
        assert_eq!(report(&[Outcome::Skipped]).exit(), Exit::Ok);
        assert_eq!(report(&[Outcome::Conflict]).exit(), Exit::SomeRejected);
        assert_eq!(
            report(&[Outcome::Rejected, Outcome::Failed]).exit(),
            Exit::Failed
        );
    }
}
