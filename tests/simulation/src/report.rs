//! Many schedules, on all cores, and what came of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::bugs::Bug;
use crate::coverage::{JOBS, Table, UNITS};
use crate::plan::{Plan, WORKERS};
use crate::run::run_plan;

/// What came of many schedules.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub first_seed: u64,
    pub schedules: u64,
    /// Of every schedule.
    pub workers: usize,
    pub failed: Vec<Failed>,
    pub n_failed: u64,
    /// Calls to the store of the schedule in the middle.
    pub median_calls: u32,
    pub median_faults: u32,
    /// Of all schedules: how many had at least two faults.
    pub share_of_two_faults: f64,
    pub median_virtual_s: u64,
    pub seconds: f64,
    pub jobs: Table,
    pub units: Table,
    /// Cells of the tables that can be reached and were not.
    pub missing: Vec<String>,
}

/// A seed whose schedule broke a rule.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    pub seed: u64,
    pub rule: &'static str,
    pub what: String,
}

/// Failing seeds that are named; the rest is only counted.
const MAX_NAMED: usize = 50;

#[derive(Default)]
struct Gathered {
    failed: Vec<Failed>,
    n_failed: u64,
    calls: Vec<u32>,
    faults: Vec<u32>,
    virtual_s: Vec<u64>,
    jobs: Table,
    units: Table,
}

/// Runs `schedules` seeds from `first_seed` on, on `threads` threads. `progress` hears how many are done.
pub fn run(
    schedules: u64,
    first_seed: u64,
    threads: usize,
    progress: impl Fn(u64) + Sync,
) -> Report {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let all = Mutex::new(Gathered::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut gathered = Gathered::default();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= schedules {
                        break;
                    }
                    gathered.run_one(first_seed.wrapping_add(n));
                    progress(n + 1);
                }
                all.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(gathered);
            });
        }
    });
    let gathered = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    gathered.report(schedules, first_seed, began.elapsed().as_secs_f64())
}

impl Gathered {
    fn run_one(&mut self, seed: u64) {
        let outcome = run_plan(&Plan::draw(seed), None, false);
        if let Some(first) = outcome.violations.first() {
            self.n_failed += 1;
            if self.failed.len() < MAX_NAMED {
                self.failed.push(Failed {
                    seed,
                    rule: first.rule,
                    what: first.to_string(),
                });
            }
        }
        self.calls.push(outcome.counts.store_calls);
        self.faults.push(outcome.counts.faults);
        self.virtual_s.push(outcome.took.as_secs());
        self.jobs.add(&outcome.jobs);
        self.units.add(&outcome.units);
    }

    fn add(&mut self, other: Self) {
        self.n_failed += other.n_failed;
        self.failed.extend(other.failed);
        self.calls.extend(other.calls);
        self.faults.extend(other.faults);
        self.virtual_s.extend(other.virtual_s);
        self.jobs.add(&other.jobs);
        self.units.add(&other.units);
    }

    fn report(mut self, schedules: u64, first_seed: u64, seconds: f64) -> Report {
        self.failed.sort_by_key(|it| it.seed);
        let with_two = self.faults.iter().filter(|it| **it >= 2).count();
        let (_, mut missing) = JOBS.print(&self.jobs);
        missing.extend(UNITS.print(&self.units).1);
        Report {
            first_seed,
            schedules,
            workers: WORKERS,
            failed: self.failed,
            n_failed: self.n_failed,
            median_calls: median(&mut self.calls),
            share_of_two_faults: with_two as f64 / self.faults.len().max(1) as f64,
            median_faults: median(&mut self.faults),
            median_virtual_s: median(&mut self.virtual_s),
            seconds,
            jobs: self.jobs,
            units: self.units,
            missing,
        }
    }
}

fn median<T: Copy + Ord + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How soon a planted bug was found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    pub bug: Bug,
    pub name: &'static str,
    /// The number of schedules that it took; `None`: not within the limit.
    pub after: Option<u64>,
    pub seed: Option<u64>,
    pub rule: Option<&'static str>,
}

/// Looks for a planted bug in up to `limit` schedules.
pub fn find(bug: Bug, first_seed: u64, limit: u64, threads: usize) -> Found {
    let next = AtomicU64::new(0);
    let is_found = AtomicBool::new(false);
    let first: Mutex<Option<(u64, &'static str)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_found.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= limit {
                        break;
                    }
                    let plan = Plan::draw(first_seed.wrapping_add(n));
                    let outcome = run_plan(&plan, Some(bug), false);
                    if let Some(broken) = outcome.violations.first() {
                        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                        if first.is_none_or(|it| n < it.0) {
                            *first = Some((n, broken.rule));
                        }
                        is_found.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let first = first.into_inner().unwrap_or_else(PoisonError::into_inner);
    Found {
        bug,
        name: bug.as_str(),
        after: first.map(|it| it.0 + 1),
        seed: first.map(|it| first_seed.wrapping_add(it.0)),
        rule: first.map(|it| it.1),
    }
}
