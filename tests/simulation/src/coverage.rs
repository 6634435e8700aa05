//! Which events met jobs and units in which states.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts by event and state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    counts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

impl Table {
    pub fn met(&mut self, event: &'static str, state: &'static str) {
        *self
            .counts
            .entry(event)
            .or_default()
            .entry(state)
            .or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (event, row) in &other.counts {
            let into = self.counts.entry(event).or_default();
            for (state, n) in row {
                *into.entry(state).or_default() += n;
            }
        }
    }

    fn count(&self, event: &str, state: &str) -> u64 {
        self.counts
            .get(event)
            .and_then(|it| it.get(state))
            .copied()
            .unwrap_or_default()
    }
}

/// What a table should look like.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub title: &'static str,
    pub states: &'static [&'static str],
    /// Each event, with the states in which it can happen.
    pub events: &'static [(&'static str, &'static [&'static str])],
}

pub const JOBS: Form = Form {
    title: "job",
    states: &[
        "absent",
        "assembling",
        "queued",
        "running",
        "collecting",
        "done",
        "failed",
        "cancelled",
    ],
    events: &[
        ("accepted", &["absent"]),
        ("assembled", &["assembling"]),
        ("progressed", &["assembling", "collecting"]),
        ("work started", &["queued"]),
        ("units counted", &["queued", "running"]),
        ("collected", &["collecting"]),
        ("fails", &["assembling", "queued", "running"]),
        ("cancel", &["assembling", "queued", "running"]),
        ("cancel again", &["cancelled"]),
        ("cancel refused", &["collecting", "done", "failed"]),
        ("stop", &["queued", "running"]),
        (
            "stop refused",
            &[
                "assembling",
                "queued",
                "running",
                "collecting",
                "done",
                "failed",
                "cancelled",
            ],
        ),
        ("raise", &["assembling", "queued", "running", "collecting"]),
        ("raise refused", &["done", "failed", "cancelled"]),
        ("retry", &["failed"]),
        (
            "retry refused",
            &[
                "assembling",
                "queued",
                "running",
                "collecting",
                "done",
                "cancelled",
            ],
        ),
        ("looked at", ALL_JOB),
        ("message to assemble", ALL_JOB),
        ("message to collect a unit", COLLECTED),
        (
            "message to collect all",
            &[
                "queued",
                "running",
                "collecting",
                "done",
                "failed",
                "cancelled",
            ],
        ),
        ("hint of a unit", COLLECTED),
        ("assembler killed", ALL_JOB),
        ("collector killed", ALL_JOB),
        ("worker killed", ALL_JOB),
        ("janitor killed", ALL_JOB),
        ("api killed", ALL_JOB),
        ("swap refused", COLLECTED),
    ],
};

const ALL_JOB: &[&str] = &[
    "assembling",
    "queued",
    "running",
    "collecting",
    "done",
    "failed",
    "cancelled",
];
const COLLECTED: &[&str] = &[
    "queued",
    "running",
    "collecting",
    "done",
    "failed",
    "cancelled",
];

pub const UNITS: Form = Form {
    title: "unit",
    states: &[
        "absent",
        "waiting",
        "leased",
        "silent",
        "done",
        "failed",
        "cancelled",
    ],
    events: &[
        ("claimed", &["absent", "waiting", "silent", "failed"]),
        ("heartbeat", &["leased", "silent"]),
        ("committed", &["leased", "silent"]),
        ("error", &["leased", "silent"]),
        ("handed back", &["leased", "silent"]),
        ("preempted", &["leased"]),
        ("given up", &["silent"]),
        ("ended with its job", &["waiting", "leased", "silent"]),
        (
            "write refused",
            &["waiting", "leased", "silent", "done", "failed", "cancelled"],
        ),
        (
            "hint",
            &[
                "absent",
                "waiting",
                "leased",
                "silent",
                "done",
                "failed",
                "cancelled",
            ],
        ),
        (
            "message to collect",
            &["waiting", "leased", "done", "failed"],
        ),
        ("owner killed", &["leased", "silent"]),
        ("owner stands still", &["leased", "silent"]),
        (
            "late owner wakes",
            &["waiting", "leased", "silent", "done", "failed", "cancelled"],
        ),
        (
            "job cancelled",
            &["absent", "waiting", "leased", "silent", "done", "failed"],
        ),
        ("job retried", &["done", "failed"]),
    ],
};

impl Form {
    /// The table as text, and the cells that should be filled and are not.
    pub fn print(&self, table: &Table) -> (String, Vec<String>) {
        let mut text = format!("{:<26}", self.title);
        for state in self.states {
            text.push_str(&format_args!("{state:>12}").to_string());
        }
        text.push('\n');
        let mut missing = Vec::new();
        for (event, reachable) in self.events {
            text.push_str(&format_args!("{event:<26}").to_string());
            for state in self.states {
                let n = table.count(event, state);
                let cell = match (n, reachable.contains(state)) {
                    (0, false) => "-".to_owned(),
                    (n, true) => n.to_string(),
                    (n, false) => format!("({n})"),
                };
                if n == 0 && reachable.contains(state) {
                    missing.push(format!("{}: {event} in state {state}", self.title));
                }
                text.push_str(&format_args!("{cell:>12}").to_string());
            }
            text.push('\n');
        }
        (text, missing)
    }
}
