//! Why a job or a unit is where it is.

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, ObjectKey, Prefix, UnitKey};
use cellmill_core::timing::Timing;
use cellmill_core::unit::{Attempt, UnitRecord, UnitState};
use cellmill_store::Versioned;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::trail::{Trail, trail};
use super::{WhyEvent, WhyView};
use crate::edge::Error;
use crate::parts::App;
use crate::routes::documents::{READS_AT_ONCE, read_or_skip};
use crate::routes::job_view::seconds_between;
use crate::routes::jobs::{open_units, read_job, view_with};
use crate::routes::waiting::waits_for;

/// Units of a job whose attempts are told; the rest is named by `cellmill why` of the unit itself.
const MAX_UNITS: usize = 64;

/// Images that a unit left out of which each is named.
const MAX_REJECTED: usize = 20;

/// The kinds in whose directories a job can be.
const KINDS: [JobKind; 4] = [
    JobKind::Data,
    JobKind::Train,
    JobKind::Predict,
    JobKind::Segment,
];

pub(super) async fn job(app: &App, dir: &Dir, kind: Option<JobKind>) -> Result<WhyView, Error> {
    let job = match kind {
        Some(kind) => read_job(app, kind, dir).await?,
        None => only_job(app, dir).await?,
    };
    let record = &job.value;
    let units = worked_on(app, record).await?;
    let (now, timing) = (app.store.now(), app.settings.timing);
    let open = units.iter().filter(|it| is_open(record, &it.value));
    let open: Vec<_> = open.cloned().collect();
    let mut answer = vec![state_of_job(app, &job, &open, now).await?];
    let repeated = units.iter().filter(|it| it.value.attempt > 1);
    answer.extend(
        repeated.map(|it| format!("unit {}: {}", it.value.key.unit, more_than_once(&it.value))),
    );
    let silent = units.iter().filter(|it| is_silent(it, now, timing));
    answer.extend(silent.map(|it| format!("unit {}: {}", it.value.key.unit, silence(it, now))));
    let mut events: Vec<WhyEvent> = record
        .history
        .iter()
        .map(|it| WhyEvent::new(it.at, "job", &it.what))
        .collect();
    for unit in &units {
        events.extend(attempts_of(&unit.value));
    }
    let decided = decided(app, record, now).await?;
    events.extend(decided.events);
    answer.extend(decided.note);
    Ok(WhyView {
        subject: ObjectKey::job(record.kind, dir).to_path(),
        answer,
        events,
    })
}

/// What people decided about a job while it was not ended.
async fn decided(app: &App, job: &JobRecord, now: DateTime<Utc>) -> Result<Trail, Error> {
    let subject = ObjectKey::job(job.kind, &job.dir).to_path();
    let until = job.times.ended.unwrap_or(now);
    trail(&app.store, &[subject], job.times.created, until).await
}

/// Claimed, and without a bit in the job.
fn is_open(job: &JobRecord, unit: &UnitRecord) -> bool {
    !job.units.is_ended(unit.key.unit)
}

/// The job of a directory that has one.
async fn only_job(app: &App, dir: &Dir) -> Result<Versioned<JobRecord>, Error> {
    let mut found = Vec::new();
    for kind in KINDS {
        found.extend(app.store.read(&ObjectKey::job(kind, dir)).await?);
    }
    match (found.pop(), found.last()) {
        (Some(job), None) => Ok(job),
        (None, _) => Err(Error::not_found(format!("job `{dir}`"))),
        (Some(last), Some(other)) => Err(Error::malformed(format!(
            "`{dir}` has several jobs: write `{dir}/{}` or `{dir}/{}`",
            other.value.kind.as_str(),
            last.value.kind.as_str()
        ))),
    }
}

/// Units that somebody claimed: all that are not ended, and those that are of a small job.
async fn worked_on(app: &App, job: &JobRecord) -> Result<Vec<Versioned<UnitRecord>>, Error> {
    let store = &app.store;
    let level = store
        .list_level(&Prefix::UnitsOfJob(job.dir.clone()).to_path())
        .await?;
    let units = level
        .objects
        .iter()
        .filter_map(|listed| match ObjectKey::parse(&listed.key) {
            Ok(Some(ObjectKey::Unit(unit))) if unit.kind == job.kind => Some(unit),
            _ => None,
        });
    let mut units: Vec<UnitKey> = units.collect();
    // Those in motion first: of a large job they are what is asked for.
    units.sort_by_key(|it| (job.units.is_ended(it.unit), it.unit));
    let n_open = units.partition_point(|it| !job.units.is_ended(it.unit));
    units.truncate(MAX_UNITS.max(n_open));
    let records = stream::iter(units)
        .map(|unit| async move { read_or_skip(store, &ObjectKey::Unit(unit)).await })
        .buffered(READS_AT_ONCE)
        .try_filter_map(|it| std::future::ready(Ok(it)));
    Ok(records.try_collect().await?)
}

async fn state_of_job(
    app: &App,
    job: &Versioned<JobRecord>,
    open: &[Versioned<UnitRecord>],
    now: DateTime<Utc>,
) -> Result<String, Error> {
    let record = &job.value;
    let since = |at: Option<DateTime<Utc>>| at.map_or(0, |it| seconds_between(it, now));
    Ok(match record.state {
        JobState::Done => format!(
            "it is done: {} of {} units",
            record.units.done.len(),
            record.units.count
        ),
        JobState::Failed => {
            let shown = view_with(app, job, open).await?;
            let error = shown
                .error
                .unwrap_or_else(|| "no reason was written".to_owned());
            let next = match record.cleared {
                None => "`cellmill jobs retry` does its failed units again",
                Some(_) => "what its units left is gone, so it can't be retried: make a new one",
            };
            format!("it failed: {error}; {next}")
        }
        JobState::Cancelled => "it was cancelled; its history says by whom".to_owned(),
        JobState::Assembling | JobState::Collecting => {
            let step = record.cursor.as_ref().map_or_else(String::new, |it| {
                format!(", {} of {} {}", it.at, it.of, it.step)
            });
            let silent = seconds_between(job.last_modified, now);
            let does = match record.state {
                JobState::Assembling => "its input is being frozen and cut into units",
                _ => "all its units are done and its result is being written",
            };
            format!(
                "{does}{step}; last written {silent} s ago, and taken up again after two silent minutes"
            )
        }
        JobState::Queued | JobState::Running => {
            let shown = view_with(app, job, open).await?;
            let n_running = shown.units.running;
            let ended = format!(
                "{} of {} units have ended",
                record.units.n_ended(),
                record.units.count
            );
            match waits_for(app, record, &shown).await? {
                Some(reason) => format!("nobody works on it for the moment: {reason} ({ended})"),
                None => format!(
                    "{n_running} units are worked on, {ended}, begun {} s ago",
                    since(record.times.started)
                ),
            }
        }
    })
}

pub(super) async fn unit(app: &App, key: &UnitKey) -> Result<WhyView, Error> {
    let job = read_job(app, key.kind, &key.dir).await?;
    if key.unit >= job.value.units.count {
        return Err(Error::not_found(format!(
            "unit {} of job `{}` (its units are counted from 0, {} in all)",
            key.unit, key.dir, job.value.units.count
        )));
    }
    let unit = read_or_skip::<UnitRecord>(&app.store, &ObjectKey::Unit(key.clone())).await?;
    let (now, timing) = (app.store.now(), app.settings.timing);
    let mut answer = Vec::new();
    let mut events = Vec::new();
    match &unit {
        None => {
            let open = match job.value.state {
                JobState::Queued | JobState::Running => open_units(&app.store, &job.value).await?,
                _ => Vec::new(),
            };
            let of_job = state_of_job(app, &job, &open, now).await?;
            answer.push(format!("{}; of its job: {of_job}", no_record(&job.value)));
        }
        Some(unit) => {
            answer.push(state_of_unit(unit, now, timing));
            if unit.value.attempt > 1 {
                answer.push(more_than_once(&unit.value));
            }
            events.extend(attempts_of(&unit.value));
            if unit.value.state == UnitState::Leased {
                let who = owner(&unit.value);
                let what = format!("heartbeat: {} %, {}", unit.value.percent, unit.value.step);
                events.push(WhyEvent::new(unit.last_modified, who, what));
            }
            let rejected = unit.value.rejected.iter().take(MAX_REJECTED);
            answer.extend(rejected.map(|it| format!("it left out `{}`: {}", it.key, it.reason)));
            if let n @ 1.. = unit.value.rejected.len().saturating_sub(MAX_REJECTED) {
                answer.push(format!("it left out {n} more images"));
            }
        }
    }
    let decided = decided(app, &job.value, now).await?;
    events.extend(decided.events);
    answer.extend(decided.note);
    Ok(WhyView {
        subject: ObjectKey::Unit(key.clone()).to_path(),
        answer,
        events,
    })
}

/// Why a unit has no record.
fn no_record(job: &JobRecord) -> String {
    match job.cleared {
        Some(at) => format!(
            "its record and log were removed on {}, long after its job ended",
            at.format("%F")
        ),
        None if job.state.is_ended() => "its job ended before anybody claimed it".to_owned(),
        None => "nobody has claimed it yet".to_owned(),
    }
}

fn state_of_unit(unit: &Versioned<UnitRecord>, now: DateTime<Utc>, timing: Timing) -> String {
    let record = &unit.value;
    match record.state {
        UnitState::Waiting => {
            "it waits for a worker: the one before gave it back or failed".to_owned()
        }
        UnitState::Leased if is_silent(unit, now, timing) => silence(unit, now),
        UnitState::Leased => format!(
            "`{}` works on it, attempt {}, {} %, last heartbeat {} s ago",
            owner(record),
            record.attempt,
            record.percent,
            seconds_between(unit.last_modified, now)
        ),
        UnitState::Done => format!("it is done, by attempt {}", record.attempt),
        UnitState::Failed => format!(
            "it failed after {} failures: {}",
            record.failures,
            record.error.as_deref().unwrap_or("no reason was written")
        ),
        UnitState::Cancelled => "its job ended without it".to_owned(),
    }
}

fn is_silent(unit: &Versioned<UnitRecord>, now: DateTime<Utc>, timing: Timing) -> bool {
    unit.value.state == UnitState::Leased && timing.is_over(unit.last_modified, now)
}

fn silence(unit: &Versioned<UnitRecord>, now: DateTime<Utc>) -> String {
    format!(
        "`{}` has said nothing for {} s and its lease is over; the next free worker takes it over",
        owner(&unit.value),
        seconds_between(unit.last_modified, now)
    )
}

fn owner(unit: &UnitRecord) -> String {
    unit.owner
        .as_ref()
        .map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

/// Why it took more than one attempt: how those before the last one ended.
fn more_than_once(unit: &UnitRecord) -> String {
    let ended = unit
        .attempts
        .iter()
        .filter(|it| it.ended.is_some() && it.attempt < unit.attempt);
    let ends: Vec<String> = ended
        .map(|it| format!("attempt {} of `{}`: {}", it.attempt, it.owner, it.how))
        .collect();
    format!("it took {} attempts, as {}", unit.attempt, ends.join("; "))
}

fn attempts_of(unit: &UnitRecord) -> impl Iterator<Item = WhyEvent> {
    unit.attempts.iter().flat_map(|it| events_of(&unit.key, it))
}

fn events_of(unit: &UnitKey, attempt: &Attempt) -> Vec<WhyEvent> {
    let name = format!("unit {}, attempt {}", unit.unit, attempt.attempt);
    let who = attempt.owner.to_string();
    let from = attempt.resumed_percent;
    let from = from.map_or(String::new(), |it| format!(", goes on at {it} %"));
    let claimed = format!("{name}: claimed{from}");
    let mut events = vec![WhyEvent::new(attempt.began, &who, claimed)];
    if let Some(ended) = attempt.ended {
        events.push(WhyEvent::new(
            ended,
            who,
            format!("{name}: {}", attempt.how),
        ));
    }
    events
}

#[cfg(test)]
mod tests {
    use cellmill_core::ids::WorkerId;
    use cellmill_core::job::{DataParameters, JobEvent, JobParameters};
    use cellmill_core::messages::UnitClass;
    use cellmill_core::unit::{Claim, decide_claim};
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn job() -> JobRecord {
        let job = JobRecord::accepted(
            Dir::parse("DkxD9Kjl").unwrap(),
            1,
            JobParameters::Data(DataParameters::default()),
            UnitClass::cpu(),
            "me".to_owned(),
            at(0),
        );
        let assembled = JobEvent::Assembled {
            units: 1,
            snapshot: "s".to_owned(),
        };
        job.apply(assembled, 64, at(0)).unwrap().unwrap().0
    }

    fn claimed(before: Option<(&UnitRecord, DateTime<Utc>)>, worker: &str, now: i64) -> UnitRecord {
        let key = UnitKey {
            dir: Dir::parse("DkxD9Kjl").unwrap(),
            kind: JobKind::Data,
            unit: 0,
        };
        let worker = WorkerId::parse(worker).unwrap();
        match decide_claim(&job(), before, &key, &worker, at(now), Timing::default()) {
            Claim::Take(unit) => unit,
            other => panic!("{other:?}"),
        }
    }

    fn written(value: UnitRecord, seconds: i64) -> Versioned<UnitRecord> {
        Versioned {
            value,
            etag: String::new(),
            last_modified: at(seconds),
        }
    }

    #[test]
    fn a_second_attempt_is_explained_by_how_the_first_ended() {
        let first = claimed(None, "one", 0);
        let second = claimed(Some((&first, at(0))), "two", 100);
        assert_eq!(
            more_than_once(&second),
            "it took 2 attempts, as attempt 1 of `one`: lease lost"
        );
        let events: Vec<(i64, String, String)> = attempts_of(&second)
            .map(|it| (it.at.timestamp(), it.who, it.what))
            .collect();
        let of = |n, who: &str, what: &str| (n, who.to_owned(), what.to_owned());
        assert_eq!(
            events,
            [
                of(0, "one", "unit 0, attempt 1: claimed"),
                of(100, "one", "unit 0, attempt 1: lease lost"),
                of(100, "two", "unit 0, attempt 2: claimed"),
            ]
        );
    }

    #[test]
    fn a_unit_without_a_record_says_why() {
        assert_eq!(no_record(&job()), "nobody has claimed it yet");
        let mut cleared = job();
        cleared.cleared = Some(at(0));
        assert!(no_record(&cleared).contains("removed on 1970-01-01"));
    }

    #[test]
    fn a_silent_worker_is_not_said_to_work() {
        let unit = written(claimed(None, "one", 0), 0);
        let timing = Timing::default();
        assert!(state_of_unit(&unit, at(30), timing).contains("works on it, attempt 1"));
        let silent = state_of_unit(&unit, at(60), timing);
        assert!(silent.contains("has said nothing for 60 s"), "{silent}");
    }
}
