//! The sweep over `active/`: marks, silent jobs, and units that nobody works on.

use std::collections::BTreeMap;
use std::time::Duration;

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, ObjectKey, Prefix, UnitKey};
use cellmill_core::legacy;
use cellmill_core::timing::Timing;
use cellmill_core::unit::{UnitRecord, UnitState};
use cellmill_queue::hints;
use cellmill_store::{Error, Replaced, Store, Versioned};
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use crate::aging;
use crate::load::{self, Loads};
use crate::{Action, Janitor, What, parse_mark};

/// A mark without a record is removed after an hour: by then nobody is still between the two writes.
const ORPHAN_MARK_AGE: Duration = Duration::from_hours(1);

/// What a sweep sees of one marked job.
#[derive(Clone, Debug)]
pub struct JobSeen {
    pub mark: String,
    pub marked_at: DateTime<Utc>,
    pub kind: JobKind,
    pub dir: Dir,
    pub round: u32,
    /// The record and the time of its last write.
    pub job: Option<(JobRecord, DateTime<Utc>)>,
    /// The last write of each unit that has a record.
    pub units: BTreeMap<u32, DateTime<Utc>>,
}

/// A unit whose record was read because it has been silent for longer than a lease.
#[derive(Clone, Debug)]
pub struct UnitSeen {
    pub unit: u32,
    pub state: UnitState,
}

/// A job's own steps count as silent after 2 minutes (with the default lease).
fn silent_after(timing: Timing) -> Duration {
    timing.lease().mul_f64(2.4)
}

/// A unit that was never claimed is hinted again when nothing of the job moved for 10 minutes.
fn forgotten_after(timing: Timing) -> Duration {
    timing.lease() * 12
}

fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - then).to_std().unwrap_or(Duration::ZERO)
}

/// What to do about a job, and which of its units must be read before more can be said.
pub fn decide_job(
    seen: &JobSeen,
    now: DateTime<Utc>,
    timing: Timing,
    window: usize,
) -> (Vec<Action>, Vec<u32>) {
    let act = |what, why: String| (vec![Action { what, why }], Vec::new());
    let remove = || What::RemoveMark {
        key: seen.mark.clone(),
    };
    let orphan = |why: &str| {
        if age(seen.marked_at, now) > ORPHAN_MARK_AGE {
            act(remove(), why.to_owned())
        } else {
            Default::default()
        }
    };
    let Some((job, written)) = &seen.job else {
        return orphan("a mark without a job for an hour");
    };
    if job.round < seen.round {
        // A retry writes the mark first: its swap may be on the way.
        return orphan("a mark without its round for an hour");
    }
    if job.round > seen.round {
        return act(remove(), format!("the job is in round {}", job.round));
    }
    let is_silent = age(*written, now) > silent_after(timing);
    match job.state {
        JobState::Done | JobState::Failed | JobState::Cancelled => act(
            remove(),
            format!("the job is {:?}", job.state).to_lowercase(),
        ),
        JobState::Assembling if is_silent => act(
            What::Assemble {
                kind: job.kind,
                dir: job.dir.clone(),
            },
            "silent while assembling".to_owned(),
        ),
        JobState::Collecting if is_silent => act(
            What::Collect {
                kind: job.kind,
                dir: job.dir.clone(),
                unit: None,
            },
            "silent while collecting".to_owned(),
        ),
        JobState::Assembling | JobState::Collecting => Default::default(),
        JobState::Queued | JobState::Running => {
            decide_units(seen, job, *written, now, timing, window)
        }
    }
}

fn decide_units(
    seen: &JobSeen,
    job: &JobRecord,
    written: DateTime<Utc>,
    now: DateTime<Utc>,
    timing: Timing,
    window: usize,
) -> (Vec<Action>, Vec<u32>) {
    let moved = seen.units.values().copied().fold(written, DateTime::max);
    let is_forgotten = age(moved, now) > forgotten_after(timing);
    let mut actions = Vec::new();
    let mut to_read = Vec::new();
    for unit in job.units.window(window) {
        match seen.units.get(&unit) {
            // Legacy jobs wait to be asked for.
            None if is_forgotten && !job.class.is_legacy() => actions.push(hint(
                job,
                unit,
                "never claimed and nothing of the job moves",
            )),
            Some(&written) if timing.is_over(written, now) => to_read.push(unit),
            // Waiting for its turn, or worked on.
            None | Some(_) => {}
        }
    }
    // Units outside of the window may have ended too, when their messages were lost.
    let in_window = to_read.clone();
    let ended_elsewhere = seen.units.iter().filter(|(unit, written)| {
        !job.units.is_ended(**unit) && !in_window.contains(unit) && timing.is_over(**written, now)
    });
    to_read.extend(ended_elsewhere.map(|(unit, _)| *unit));
    if job.units.all_ended() {
        let what = What::Collect {
            kind: job.kind,
            dir: job.dir.clone(),
            unit: None,
        };
        actions.push(Action {
            what,
            why: "all units ended".to_owned(),
        });
    }
    (actions, to_read)
}

/// What to do about a unit that has been silent for longer than a lease and has no bit in the job.
pub fn decide_silent_unit(job: &JobRecord, seen: &UnitSeen) -> Option<Action> {
    match seen.state {
        UnitState::Leased if job.class.is_legacy() => {
            let what = What::EndLease {
                kind: job.kind,
                dir: job.dir.clone(),
                unit: seen.unit,
            };
            Some(Action {
                what,
                why: "its lease is over".to_owned(),
            })
        }
        UnitState::Waiting if job.class.is_legacy() => None,
        UnitState::Leased => Some(hint(job, seen.unit, "its lease is over")),
        UnitState::Waiting => Some(hint(job, seen.unit, "handed back")),
        UnitState::Done | UnitState::Failed | UnitState::Cancelled => {
            let what = What::Collect {
                kind: job.kind,
                dir: job.dir.clone(),
                unit: Some(seen.unit),
            };
            Some(Action {
                what,
                why: "it ended, the job doesn't know".to_owned(),
            })
        }
    }
}

fn hint(job: &JobRecord, unit: u32, why: &str) -> Action {
    let what = What::Hint {
        kind: job.kind,
        dir: job.dir.clone(),
        unit,
        job: Box::new(job.clone()),
    };
    Action {
        what,
        why: why.to_owned(),
    }
}

/// What the sweep over jobs found.
#[derive(Clone, Debug, Default)]
pub struct SweptJobs {
    pub actions: Vec<Action>,
    /// What waits and what is worked on.
    pub loads: Loads,
}

pub(crate) async fn plan(store: &Store, timing: Timing, window: usize) -> Result<SweptJobs, Error> {
    let marks: Vec<_> = store.list(&Prefix::Active.to_path()).try_collect().await?;
    let mut actions = Vec::new();
    let mut loads = Loads::new();
    let mut jobs = Vec::new();
    for mark in marks {
        let Some((kind, dir, round)) = parse_mark(&mark.key) else {
            continue;
        };
        let job = store.read_job(kind, &dir).await?;
        let units = match &job {
            Some(job) if matches!(job.value.state, JobState::Queued | JobState::Running) => {
                units_of(store, kind, &dir).await?
            }
            _ => BTreeMap::new(),
        };
        let job = job.map(
            |Versioned {
                 value,
                 last_modified,
                 ..
             }| (value, last_modified),
        );
        let seen = JobSeen {
            mark: mark.key,
            marked_at: mark.last_modified,
            kind,
            dir,
            round,
            job,
            units,
        };
        load::add(&mut loads, &seen, store.now(), timing);
        let (mut found, to_read) = decide_job(&seen, store.now(), timing, window);
        actions.append(&mut found);
        if let Some((job, _)) = &seen.job {
            actions.append(&mut read_silent(store, job, to_read, timing).await?);
        }
        jobs.push(seen);
    }
    let now = store.now();
    let busy = aging::busy_classes(&jobs, now, timing);
    let aged = jobs
        .iter()
        .filter_map(|it| aging::decide_aging(it, &busy, now, timing));
    actions.extend(aged);
    Ok(SweptJobs { actions, loads })
}

pub(crate) async fn plan_wake(store: &Store) -> Result<Vec<Action>, Error> {
    let marks: Vec<_> = store.list(&Prefix::Active.to_path()).try_collect().await?;
    let mut actions = Vec::new();
    for mark in marks {
        let Some((kind, dir, _)) = parse_mark(&mark.key) else {
            continue;
        };
        let Some(job) = store.read_job(kind, &dir).await? else {
            continue;
        };
        let what = match job.value.state {
            JobState::Assembling => What::Assemble { kind, dir },
            JobState::Queued | JobState::Running | JobState::Collecting => What::Collect {
                kind,
                dir,
                unit: None,
            },
            JobState::Done | JobState::Failed | JobState::Cancelled => continue,
        };
        actions.push(Action {
            what,
            why: "this process starts".to_owned(),
        });
    }
    Ok(actions)
}

async fn units_of(
    store: &Store,
    kind: JobKind,
    dir: &Dir,
) -> Result<BTreeMap<u32, DateTime<Utc>>, Error> {
    let level = store
        .list_level(&Prefix::UnitsOfJob(dir.clone()).to_path())
        .await?;
    let unit = |key: &str| match ObjectKey::parse(key) {
        Ok(Some(ObjectKey::Unit(it))) if it.kind == kind => Some(it.unit),
        _ => None,
    };
    Ok(level
        .objects
        .iter()
        .filter_map(|it| Some((unit(&it.key)?, it.last_modified)))
        .collect())
}

async fn read_silent(
    store: &Store,
    job: &JobRecord,
    units: Vec<u32>,
    timing: Timing,
) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    for unit in units {
        let key = UnitKey {
            dir: job.dir.clone(),
            kind: job.kind,
            unit,
        };
        let Some(record) = store.read::<UnitRecord>(&ObjectKey::Unit(key)).await? else {
            continue;
        };
        let timing = if job.class.is_legacy() {
            legacy::timing(Some(&record.value))
        } else {
            timing
        };
        // The listing may be older than the record: judged again on the fresh read.
        if timing.is_over(record.last_modified, store.now())
            || record.value.state != UnitState::Leased
        {
            actions.extend(decide_silent_unit(
                job,
                &UnitSeen {
                    unit,
                    state: record.value.state,
                },
            ));
        }
    }
    Ok(actions)
}

/// Ends a legacy lease, judged once more on a fresh read. A worker that comes back first keeps it.
pub(crate) async fn end_lease(janitor: &Janitor, unit: UnitKey) -> Result<(), crate::Error> {
    let (store, key) = (&janitor.store, ObjectKey::Unit(unit.clone()));
    let seen = store.read::<UnitRecord>(&key).await;
    let Some(seen) = seen.map_err(crate::Error::Store)? else {
        return Ok(());
    };
    let ended = legacy::end_lease(&seen.value, seen.last_modified, store.now());
    let Some(next) = ended else {
        return Ok(());
    };
    let is_given_up = next.state.is_ended();
    let replaced = store.replace(&key, &seen, next).await;
    let is_ours = matches!(replaced.map_err(crate::Error::Store)?, Replaced::Won(_));
    if is_ours && is_given_up {
        hints::send_collect_of(&*janitor.queue, unit.kind, &unit.dir, Some(unit.unit))
            .await
            .map_err(crate::Error::Queue)?;
    }
    Ok(())
}
