//! How much work waits and is being done, by class of workers: what an operator watches and workers are scaled by.

use std::collections::BTreeMap;

use cellmill_core::job::JobState;
use cellmill_core::timing::Timing;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::JobSeen;

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

/// Adds the units of a job. Judged by the times of the records alone: one that was written within a lease and has
/// no bit in the job is worked on, or has just ended, which the next sweep tells apart.
pub(crate) fn add(loads: &mut Loads, seen: &JobSeen, now: DateTime<Utc>, timing: Timing) {
    let Some((job, _)) = &seen.job else {
        return;
    };
    if !matches!(job.state, JobState::Queued | JobState::Running) {
        return;
    }
    let is_leased = |(unit, written): &(&u32, &DateTime<Utc>)| {
        !job.units.is_ended(**unit) && !timing.is_over(**written, now)
    };
    let leased = seen.units.iter().filter(is_leased).count() as u64;
    let open = u64::from(job.units.count - job.units.n_ended());
    let load = loads.entry(job.class.as_str().to_owned()).or_default();
    load.leased += leased;
    load.waiting += open.saturating_sub(leased);
}
