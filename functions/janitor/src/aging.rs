//! No job waits for ever behind urgent ones: after an hour it goes with them.

use std::collections::BTreeSet;
use std::time::Duration;

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobEvent, JobState};
use cellmill_core::keys::JobKind;
use cellmill_core::messages::UnitClass;
use cellmill_core::timing::Timing;
use cellmill_queue::hints;
use cellmill_store::jobs::Applied;
use chrono::{DateTime, Utc};

use crate::{Action, Error, Janitor, JobSeen, What};

/// Who raises it.
const BY: &str = "the janitor, as nothing of it moved for an hour while others were worked on";

/// An hour, with the default lease.
fn patience(timing: Timing) -> Duration {
    timing.lease() * 72
}

/// The classes in which a unit is worked on now.
pub(crate) fn busy_classes(
    jobs: &[JobSeen],
    now: DateTime<Utc>,
    timing: Timing,
) -> BTreeSet<UnitClass> {
    let is_busy = |seen: &&JobSeen| {
        seen.units
            .iter()
            .any(|(unit, written)| !is_ended(seen, *unit) && !timing.is_over(*written, now))
    };
    let busy = jobs.iter().filter(is_busy);
    busy.filter_map(|it| Some(it.job.as_ref()?.0.class.clone()))
        .collect()
}

fn is_ended(seen: &JobSeen, unit: u32) -> bool {
    let job = seen.job.as_ref();
    job.is_none_or(|(job, _)| job.units.is_ended(unit))
}

/// Raises a job whose units wait, once. Where nobody works at all it would only mix up the order.
pub(crate) fn decide_aging(
    seen: &JobSeen,
    busy: &BTreeSet<UnitClass>,
    now: DateTime<Utc>,
    timing: Timing,
) -> Option<Action> {
    let (job, written) = seen.job.as_ref()?;
    let waits = matches!(job.state, JobState::Queued | JobState::Running)
        && job.round == seen.round
        && !job.wishes.urgent
        && !job.class.is_legacy()
        && !job.units.all_ended();
    let moved = seen.units.values().copied().fold(*written, DateTime::max);
    let silent = (now - moved).to_std().unwrap_or_default();
    if !waits || silent <= patience(timing) || !busy.contains(&job.class) {
        return None;
    }
    let (kind, dir) = (job.kind, job.dir.clone());
    Some(Action {
        what: What::Raise { kind, dir },
        why: "nothing of it moved for an hour while others were worked on".to_owned(),
    })
}

pub(crate) async fn raise(janitor: &Janitor, kind: JobKind, dir: &Dir) -> Result<(), Error> {
    let event = JobEvent::Raised { by: BY.to_owned() };
    let changed = janitor.store.change_job(kind, dir, event, janitor.window);
    if let Applied::Changed(job, effects) = changed.await.map_err(Error::Store)? {
        let sent = hints::carry_out(&*janitor.queue, &job.value, &effects).await;
        sent.map_err(Error::Queue)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cellmill_core::job::{DataParameters, JobParameters, JobRecord};
    use chrono::TimeDelta;

    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn seen(dir: &str, units: BTreeMap<u32, DateTime<Utc>>) -> JobSeen {
        let dir = Dir::parse(dir).unwrap();
        let parameters = JobParameters::Data(DataParameters::default());
        let (class, by) = (UnitClass::cpu(), "me".to_owned());
        let job = JobRecord::accepted(dir.clone(), 1, parameters, class, by, at(0));
        let snapshot = "s".to_owned();
        let assembled = JobEvent::Assembled { units: 3, snapshot };
        let job = job.apply(assembled, 64, at(0)).unwrap().unwrap().0;
        JobSeen {
            mark: String::new(),
            marked_at: at(0),
            kind: JobKind::Data,
            dir,
            round: 0,
            job: Some((job, at(0))),
            units,
        }
    }

    fn raised(waiting: &JobSeen, other: &JobSeen, now: i64) -> bool {
        let timing = Timing::default();
        let busy = busy_classes(&[waiting.clone(), other.clone()], at(now), timing);
        decide_aging(waiting, &busy, at(now), timing).is_some()
    }

    #[test]
    fn a_job_that_waited_for_an_hour_beside_a_busy_one_is_raised_once() {
        let waiting = seen("waiting0", BTreeMap::new());
        let busy = |now| seen("busy0000", BTreeMap::from([(0, at(now))]));
        assert!(!raised(&waiting, &busy(60), 60));
        assert!(raised(&waiting, &busy(61), 61));
        assert!(
            !raised(&waiting, &busy(30), 61),
            "nobody works: it waits for no other"
        );
        assert!(!raised(&busy(1), &busy(61), 61), "something of it moved");
        let by = "me".to_owned();
        let mut urgent = waiting;
        let (job, _) = urgent.job.take().unwrap();
        let job = job.apply(JobEvent::Raised { by }, 64, at(0)).unwrap();
        urgent.job = Some((job.unwrap().0, at(0)));
        assert!(!raised(&urgent, &busy(61), 61));
    }
}
