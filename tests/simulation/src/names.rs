//! The jobs of a schedule by number.

use cellmill_core::ids::Dir;
use cellmill_core::keys::JobKind;

use crate::check::JobName;
use crate::plan::Plan;

/// The data sets come first, then the prediction, then the training.
pub(crate) fn job_name(plan: &Plan, job: usize) -> JobName {
    let kind = if job < plan.jobs.len() {
        JobKind::Data
    } else if plan.predicts && job == plan.jobs.len() {
        JobKind::Predict
    } else {
        JobKind::Train
    };
    (kind, dir(job))
}

pub(crate) fn dir(job: usize) -> Dir {
    Dir::parse(&format!("Job{job:05}")).expect("letters and digits make a directory")
}

pub(crate) fn job_number(dir: &Dir) -> u64 {
    let digits = dir.as_str().trim_start_matches("Job");
    digits.parse().unwrap_or_default()
}

pub(crate) fn n_jobs(plan: &Plan) -> usize {
    plan.jobs.len() + usize::from(plan.predicts) + usize::from(plan.trains)
}

/// The batch of a job's images.
pub(crate) fn batch(job: usize) -> String {
    format!("b{job}")
}
