//! The load of the jobs that a sweep saw.

use cellmill_core::load;
use cellmill_core::timing::Timing;
use chrono::{DateTime, Utc};

pub use cellmill_core::load::{Load, Loads};

use crate::JobSeen;

/// Adds the units of a job.
pub(crate) fn add(loads: &mut Loads, seen: &JobSeen, now: DateTime<Utc>, timing: Timing) {
    let Some((job, _)) = &seen.job else {
        return;
    };
    let written = seen.units.iter().map(|(unit, at)| (*unit, *at));
    if let Some(of_job) = load::of_job(job, written, now, timing) {
        load::add(loads, job, of_job);
    }
}
