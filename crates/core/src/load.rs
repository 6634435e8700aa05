//! How much work waits and is being done, by class of workers: what an operator watches and workers are scaled by.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::job::{JobRecord, JobState};
use crate::timing::Timing;

/// Units of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Not ended, and nobody works on them.
    pub waiting: u64,
    /// Under a lease that is alive.
    pub leased: u64,
}

/// The load of every class that has unfinished jobs, by the class's name.
pub type Loads = BTreeMap<String, Load>;

/// The units of a job, of those that have a record the time of its last write; `None` when the job has no open units.
///
/// Judged by the times of the records alone: one that was written within a lease and has no bit in the job is worked on,
/// or has just ended, which the next look tells apart.
pub fn of_job(
    job: &JobRecord,
    written: impl IntoIterator<Item = (u32, DateTime<Utc>)>,
    now: DateTime<Utc>,
    timing: Timing,
) -> Option<Load> {
    if !matches!(job.state, JobState::Queued | JobState::Running) {
        return None;
    }
    let is_leased =
        |(unit, at): &(u32, DateTime<Utc>)| !job.units.is_ended(*unit) && !timing.is_over(*at, now);
    let leased = written.into_iter().filter(is_leased).count() as u64;
    let open = u64::from(job.units.count - job.units.n_ended());
    Some(Load {
        leased,
        waiting: open.saturating_sub(leased),
    })
}

/// Adds the units of a job to those of its class.
pub fn add(loads: &mut Loads, job: &JobRecord, of_job: Load) {
    let load = loads.entry(job.class.as_str().to_owned()).or_default();
    load.leased += of_job.leased;
    load.waiting += of_job.waiting;
}
