//! What is shown of a job: a pure function of its record and of its units at work.

use cellmill_core::ids::{Dir, WorkerId};
use cellmill_core::job::{Change, Cursor, JobRecord, JobState, Times, Wishes};
use cellmill_core::keys::JobKind;
use cellmill_core::timing::Timing;
use cellmill_core::unit::{UnitRecord, UnitState};
use cellmill_store::Versioned;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// `data`, `train`, `predict`, `segment` or `index`.
    #[schema(value_type = String)]
    pub kind: JobKind,
    #[schema(value_type = String)]
    pub dir: Dir,
    pub number: u64,
    pub description: String,
    /// `assembling`, `queued`, `running`, `collecting`, `done`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    pub state: JobState,
    /// The predecessor's number of the state, 0 to 4.
    pub legacy_status: u8,
    /// Grows with every retry.
    pub round: u32,
    /// 0 to 99 until done.
    pub percent: u8,
    /// Seconds that are left, as far as they can be guessed.
    pub eta_s: Option<u64>,
    /// Seconds since the last sign of life.
    pub fresh_s: u64,
    /// Set when it should show signs of life and shows none.
    pub silent_since: Option<DateTime<Utc>>,
    /// Why nobody works on it, though somebody could: asked of one job, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    pub units: UnitCounts,
    /// The units that show signs of life.
    pub running: Vec<RunningUnit>,
    /// Of a training that did not run all its epochs: why. `stopped`, `time` or `patience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// How far assembling or collecting came.
    pub cursor: Option<CursorView>,
    pub error: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub result: Option<serde_json::Value>,
    /// What else is to be said of the result: figures, counts, what was left out.
    #[schema(value_type = Option<Object>)]
    pub report: Option<serde_json::Value>,
    pub times: TimesView,
    /// Oldest first.
    pub history: Vec<ChangeView>,
    pub wishes: WishesView,
    /// Who asked for it.
    pub by: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnitCounts {
    pub count: u32,
    pub done: u32,
    pub failed: u32,
    pub running: u32,
}

/// A unit that is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningUnit {
    pub unit: u32,
    pub attempt: u32,
    /// How far the checkpoint was that this attempt went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_percent: Option<u8>,
    #[schema(value_type = Option<String>)]
    pub owner: Option<WorkerId>,
    pub percent: u8,
    /// What it is doing.
    pub step: String,
    pub eta_s: Option<u64>,
    /// Seconds since its last heartbeat.
    pub age_s: u64,
}

/// How far a step came.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CursorView {
    pub step: String,
    pub at: u64,
    pub of: u64,
}

/// When the state changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TimesView {
    pub created: DateTime<Utc>,
    pub queued: Option<DateTime<Utc>>,
    pub started: Option<DateTime<Utc>>,
    pub collecting: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    pub at: DateTime<Utc>,
    pub what: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct WishesView {
    pub cancel: bool,
    pub stop: bool,
    pub urgent: bool,
}

impl JobView {
    /// `units`: the records of the units that are not ended, as they were read.
    pub(super) fn of(
        job: &Versioned<JobRecord>,
        units: &[Versioned<UnitRecord>],
        now: DateTime<Utc>,
        timing: Timing,
    ) -> Self {
        let record = &job.value;
        let leased: Vec<&Versioned<UnitRecord>> = units
            .iter()
            .filter(|it| it.value.state == UnitState::Leased)
            .collect();
        let running: Vec<RunningUnit> = leased
            .iter()
            .filter(|it| is_at_work(record) && !timing.is_over(it.last_modified, now))
            .map(|it| RunningUnit::of(it, now))
            .collect();
        let signs = leased.iter().map(|it| it.last_modified);
        let last_sign = signs.fold(job.last_modified, DateTime::max);
        let percent = percent(record, units);
        Self {
            kind: record.kind,
            dir: record.dir.clone(),
            number: record.number,
            description: record.description.clone(),
            state: record.state,
            legacy_status: record.state.legacy_status(),
            round: record.round,
            percent,
            eta_s: eta_s(record, &running, percent, now),
            fresh_s: seconds_between(last_sign, now),
            silent_since: (is_expected_to_move(record) && timing.is_over(last_sign, now))
                .then_some(last_sign),
            waits_for: None,
            units: UnitCounts {
                count: record.units.count,
                done: record.units.done.len(),
                failed: record.units.failed.len(),
                running: running.len() as u32,
            },
            running,
            ended_early: ended_early(record),
            cursor: record.cursor.as_ref().map(CursorView::from),
            error: record.error.clone(),
            result: record.result.clone(),
            report: record.report.clone(),
            times: record.times.into(),
            history: record.history.iter().map(ChangeView::from).collect(),
            wishes: (&record.wishes).into(),
            by: record.by.clone(),
        }
    }
}

const fn is_at_work(job: &JobRecord) -> bool {
    matches!(job.state, JobState::Queued | JobState::Running)
}

/// A queued job waits for a worker, an ended one for nobody; the others swap at least once a lease.
const fn is_expected_to_move(job: &JobRecord) -> bool {
    matches!(
        job.state,
        JobState::Assembling | JobState::Running | JobState::Collecting
    )
}

/// Ended units and what is done of the others: by who works on them, or saved as a checkpoint.
fn percent(job: &JobRecord, open: &[Versioned<UnitRecord>]) -> u8 {
    if !is_at_work(job) || job.units.count == 0 {
        return job.percent();
    }
    let of_open: u64 = open.iter().map(|it| u64::from(done_of(&it.value))).sum();
    let of_all = u64::from(job.units.n_ended()) * 100 + of_open;
    (of_all / u64::from(job.units.count)).min(99) as u8
}

/// An attempt that begins after another one loses nothing of what a checkpoint has saved.
fn done_of(unit: &UnitRecord) -> u8 {
    let saved = unit.checkpoints.last().map_or(0, |it| it.percent);
    let reported = match unit.state {
        UnitState::Leased => unit.percent,
        _ => 0,
    };
    reported.max(saved).min(99)
}

fn ended_early(job: &JobRecord) -> Option<String> {
    let early = job.report.as_ref()?.pointer("/card/training/ended_early")?;
    early.as_str().map(str::to_owned)
}

fn eta_s(job: &JobRecord, running: &[RunningUnit], percent: u8, now: DateTime<Utc>) -> Option<u64> {
    if job.state != JobState::Running {
        return None;
    }
    let n_waiting = job
        .units
        .count
        .saturating_sub(job.units.n_ended() + running.len() as u32);
    if n_waiting == 0 {
        return running.iter().filter_map(|it| it.eta_s).max();
    }
    // With units still waiting only the pace so far says something.
    let elapsed = seconds_between(job.times.started?, now);
    let left = 100 - u64::from(percent);
    (percent > 0).then(|| elapsed * left / u64::from(percent))
}

pub(super) fn seconds_between(earlier: DateTime<Utc>, later: DateTime<Utc>) -> u64 {
    (later - earlier).num_seconds().max(0) as u64
}

impl RunningUnit {
    fn of(unit: &Versioned<UnitRecord>, now: DateTime<Utc>) -> Self {
        let record = &unit.value;
        Self {
            unit: record.key.unit,
            attempt: record.attempt,
            resumed_percent: record.attempts.last().and_then(|it| it.resumed_percent),
            owner: record.owner.clone(),
            percent: record.percent,
            step: record.step.clone(),
            eta_s: record.eta_s,
            age_s: seconds_between(unit.last_modified, now),
        }
    }
}

impl From<&Cursor> for CursorView {
    fn from(it: &Cursor) -> Self {
        Self {
            step: it.step.clone(),
            at: it.at,
            of: it.of,
        }
    }
}

impl From<Times> for TimesView {
    fn from(it: Times) -> Self {
        Self {
            created: it.created,
            queued: it.queued,
            started: it.started,
            collecting: it.collecting,
            ended: it.ended,
        }
    }
}

impl From<&Change> for ChangeView {
    fn from(it: &Change) -> Self {
        Self {
            at: it.at,
            what: it.what.clone(),
        }
    }
}

impl From<&Wishes> for WishesView {
    fn from(it: &Wishes) -> Self {
        Self {
            cancel: it.cancel,
            stop: it.stop,
            urgent: it.urgent,
        }
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::job::{DataParameters, JobEvent, JobParameters};
    use cellmill_core::keys::UnitKey;
    use cellmill_core::messages::UnitClass;
    use cellmill_core::unit::{Claim, Progress, decide_claim};
    use chrono::TimeDelta;

    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn after(seconds: i64) -> DateTime<Utc> {
        start() + TimeDelta::seconds(seconds)
    }

    fn running_job(units: u32) -> JobRecord {
        let job = JobRecord::accepted(
            Dir::parse("DkxD9Kjl").unwrap(),
            1,
            JobParameters::Data(DataParameters::default()),
            UnitClass::cpu(),
            "me".to_owned(),
            start(),
        );
        let assembled = JobEvent::Assembled {
            units,
            snapshot: "s".to_owned(),
        };
        let (job, _) = job.apply(assembled, 64, start()).unwrap().unwrap();
        job.apply(JobEvent::WorkStarted, 64, start())
            .unwrap()
            .unwrap()
            .0
    }

    fn leased_unit(job: &JobRecord, unit: u32, percent: u8) -> UnitRecord {
        let worker = WorkerId::parse("w").unwrap();
        let key = UnitKey {
            dir: job.dir.clone(),
            kind: JobKind::Data,
            unit,
        };
        let claim = decide_claim(job, None, &key, &worker, start(), Timing::default());
        let Claim::Take(record) = claim else {
            panic!("{claim:?}")
        };
        let progress = Progress {
            percent,
            eta_s: Some(7),
            ..Progress::default()
        };
        record.beat(&worker, 1, &progress).unwrap()
    }

    fn at<T>(value: T, last_modified: DateTime<Utc>) -> Versioned<T> {
        Versioned {
            value,
            etag: String::new(),
            last_modified,
        }
    }

    fn shown(job: JobRecord, units: &[Versioned<UnitRecord>], now: DateTime<Utc>) -> JobView {
        JobView::of(&at(job, start()), units, now, Timing::default())
    }

    #[test]
    fn running_units_count_by_their_percent() {
        let job = running_job(4);
        let ended = JobEvent::UnitsEnded {
            done: vec![0],
            failed: vec![],
        };
        let job = job.apply(ended, 64, start()).unwrap().unwrap().0;
        let units = [
            at(leased_unit(&job, 1, 50), after(10)),
            at(leased_unit(&job, 2, 30), after(12)),
        ];
        let view = shown(job, &units, after(20));
        assert_eq!(view.percent, (100 + 50 + 30) / 4);
        assert_eq!((view.units.done, view.units.running), (1, 2));
        assert_eq!((view.fresh_s, view.silent_since), (8, None));
        assert_eq!(view.eta_s, Some(20 * 55 / 45), "by the pace so far");
        assert_eq!(view.running[0].age_s, 10);
    }

    #[test]
    fn a_unit_without_a_heartbeat_is_not_shown_as_running() {
        let job = running_job(1);
        let units = [at(leased_unit(&job, 0, 50), after(10))];
        let fresh = shown(job.clone(), &units, after(10 + 52));
        assert_eq!((fresh.units.running, fresh.silent_since), (1, None));
        assert_eq!(fresh.eta_s, Some(7), "the unit's own guess");
        let silent = shown(job, &units, after(10 + 53));
        assert_eq!(silent.units.running, 0);
        assert_eq!(silent.silent_since, Some(after(10)));
    }

    #[test]
    fn percent_reaches_100_only_when_done() {
        let job = running_job(1);
        let units = [at(leased_unit(&job, 0, 99), start())];
        assert_eq!(shown(job.clone(), &units, start()).percent, 99);
        let ended = JobEvent::UnitsEnded {
            done: vec![0],
            failed: vec![],
        };
        let collecting = job.apply(ended, 64, start()).unwrap().unwrap().0;
        assert_eq!(shown(collecting.clone(), &[], start()).percent, 99);
        let collected = JobEvent::Collected {
            result: serde_json::Value::Null,
            report: None,
        };
        let done = collecting.apply(collected, 64, start()).unwrap().unwrap().0;
        let view = shown(done, &[], after(9999));
        assert_eq!((view.percent, view.silent_since), (100, None));
    }
}
