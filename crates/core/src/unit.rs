//! The unit record and its life: `waiting -> leased -> done | failed | cancelled`.
//!
//! A unit without a record is waiting; its first claim creates it. `attempt` only grows and fences: what
//! a worker writes under an attempt that is not the record's any more is refused by its swap.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::document::Stamp;
use crate::ids::WorkerId;
use crate::impl_document;
use crate::job::{JobRecord, JobState};
use crate::keys::UnitKey;
use crate::timing::Timing;

/// `units/<dir>/<kind>-<nnnnn>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub key: UnitKey,
    pub state: UnitState,
    /// The job's round in which it was last claimed.
    pub round: u32,
    /// Only grows; part of the output path.
    pub attempt: u32,
    /// Errors, and leases that ended without a new checkpoint. [`MAX_FAILURES`] end the unit.
    #[serde(default)]
    pub failures: u32,
    /// One per process start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<WorkerId>,
    /// 0 to 99 until done.
    #[serde(default)]
    pub percent: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u64>,
    /// What it is doing, for people.
    #[serde(default)]
    pub step: String,
    /// Where a later attempt may go on, oldest first; only those named here exist.
    #[serde(default)]
    pub checkpoints: Vec<Checkpoint>,
    /// Did this attempt name a new checkpoint?
    #[serde(default)]
    pub has_progressed: bool,
    #[serde(default)]
    pub outputs: Vec<Output>,
    /// Images that could not be used; they fail no unit.
    #[serde(default)]
    pub rejected: Vec<RejectedInput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How each attempt ended, oldest first, the last [`UnitRecord::MAX_ATTEMPTS`].
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

impl_document!(UnitRecord);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    Waiting,
    Leased,
    Done,
    Failed,
    Cancelled,
}

impl UnitState {
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Something that a committed unit left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its role: `rows`, `pack`, `log`.
    pub name: String,
    /// Full key.
    pub key: String,
    pub bytes: u64,
    pub sha256: String,
}

/// An input that a unit left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedInput {
    pub key: String,
    pub code: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub attempt: u32,
    pub owner: WorkerId,
    pub began: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
    /// `committed`, `error: ...`, `lease lost`, `handed back`, `preempted ...`, `cancelled`; empty while it runs.
    #[serde(default)]
    pub how: String,
    /// It went on from a checkpoint, which was this far. `None`: it began at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_percent: Option<u8>,
}

/// Why a worker gave a unit back that it could have gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedBack {
    /// It ends, or the job began a new round.
    Asked,
    /// Urgent work came.
    Preempted,
}

impl HandedBack {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "handed back",
            Self::Preempted => "preempted by urgent work",
        }
    }
}

/// How an attempt ended whose worker fell silent.
const LEASE_LOST: &str = "lease lost";

/// Three failures end a unit.
pub const MAX_FAILURES: u32 = 3;

/// What a worker reports with a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub percent: u8,
    pub eta_s: Option<u64>,
    pub step: String,
    /// Checkpoints that are durable, oldest first. `None`: those that are named stay.
    pub checkpoints: Option<Vec<Checkpoint>>,
    /// This attempt went on from a checkpoint, which was this far.
    pub resumed_percent: Option<u8>,
}

/// What to do with a hint, after the job and the unit were read.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Swap this in (create it, when the unit had no record), then delete the hint.
    Take(UnitRecord),
    /// Somebody works on it: delete the hint.
    Live,
    /// It ended: send "unit ended" again, delete the hint.
    Ended,
    /// The job ended: swap this in when given, delete the hint.
    JobEnded(Option<UnitRecord>),
    /// A third lease ended without progress: swap this in, send "unit ended", delete the hint.
    GiveUp(UnitRecord),
    /// The job is still being assembled: leave the hint.
    NotYet,
    /// The hint names no unit of the job: delete it.
    Unknown,
}

/// The rule of DESIGN 5.2. `unit` comes with the time of its last write.
pub fn decide_claim(
    job: &JobRecord,
    unit: Option<(&UnitRecord, DateTime<Utc>)>,
    key: &UnitKey,
    worker: &WorkerId,
    now: DateTime<Utc>,
    timing: Timing,
) -> Claim {
    match job.state {
        JobState::Assembling => return Claim::NotYet,
        JobState::Collecting | JobState::Done | JobState::Failed | JobState::Cancelled => {
            let open = unit.filter(|(unit, _)| !unit.state.is_ended());
            return Claim::JobEnded(open.map(|(unit, _)| unit.cancelled(now)));
        }
        JobState::Queued | JobState::Running => {}
    }
    if key.unit >= job.units.count {
        return Claim::Unknown;
    }
    let Some((unit, written)) = unit else {
        return Claim::Take(UnitRecord::first(key.clone(), job.round, worker, now));
    };
    match unit.state {
        UnitState::Done => Claim::Ended,
        UnitState::Failed | UnitState::Cancelled if unit.round >= job.round => Claim::Ended,
        UnitState::Failed | UnitState::Cancelled => {
            Claim::Take(unit.next_attempt(job.round, 0, worker, now))
        }
        UnitState::Waiting => {
            Claim::Take(unit.next_attempt(job.round, unit.failures_in(job.round), worker, now))
        }
        UnitState::Leased if !timing.is_over(written, now) => Claim::Live,
        UnitState::Leased => {
            let lost = unit.lease_lost(now);
            if lost.failures_in(job.round) >= MAX_FAILURES {
                return Claim::GiveUp(lost.given_up(now));
            }
            Claim::Take(lost.next_attempt(job.round, lost.failures_in(job.round), worker, now))
        }
    }
}

/// The unit is not this worker's any more: it must stop and write nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unit `{key}` is at attempt {attempt}, state {state:?}: this worker's attempt {mine} is over"
)]
pub struct LeaseLost {
    pub key: UnitKey,
    pub attempt: u32,
    pub mine: u32,
    pub state: UnitState,
}

impl UnitRecord {
    pub const MAX_ATTEMPTS: usize = 50;

    fn first(key: UnitKey, round: u32, worker: &WorkerId, now: DateTime<Utc>) -> Self {
        let empty = Self {
            stamp: Stamp::default(),
            key,
            state: UnitState::Waiting,
            round,
            attempt: 0,
            failures: 0,
            owner: None,
            percent: 0,
            eta_s: None,
            step: String::new(),
            checkpoints: Vec::new(),
            has_progressed: false,
            outputs: Vec::new(),
            rejected: Vec::new(),
            error: None,
            attempts: Vec::new(),
        };
        empty.next_attempt(round, 0, worker, now)
    }

    /// A retry forgives: failures of an earlier round do not count.
    fn failures_in(&self, round: u32) -> u32 {
        if self.round < round { 0 } else { self.failures }
    }

    fn next_attempt(
        &self,
        round: u32,
        failures: u32,
        worker: &WorkerId,
        now: DateTime<Utc>,
    ) -> Self {
        let mut next = self.clone();
        next.state = UnitState::Leased;
        next.round = round;
        next.attempt += 1;
        next.failures = failures;
        next.owner = Some(worker.clone());
        next.percent = 0;
        next.eta_s = None;
        "starting".clone_into(&mut next.step);
        next.has_progressed = false;
        next.error = None;
        next.attempts.push(Attempt {
            attempt: next.attempt,
            owner: worker.clone(),
            began: now,
            ended: None,
            how: String::new(),
            resumed_percent: None,
        });
        let excess = next.attempts.len().saturating_sub(Self::MAX_ATTEMPTS);
        next.attempts.drain(..excess);
        next
    }

    fn close_attempt(&mut self, how: &str, now: DateTime<Utc>) {
        if let Some(last) = self.attempts.last_mut().filter(|it| it.ended.is_none()) {
            last.ended = Some(now);
            how.clone_into(&mut last.how);
        }
        self.owner = None;
        self.eta_s = None;
    }

    fn lease_lost(&self, now: DateTime<Utc>) -> Self {
        let mut next = self.clone();
        if !next.has_progressed {
            next.failures += 1;
        }
        next.close_attempt(LEASE_LOST, now);
        next
    }

    /// A lease that is over and that nobody takes over at once: the unit waits, or is given up the third time.
    #[must_use]
    pub fn lease_ended(&self, now: DateTime<Utc>) -> Self {
        let mut next = self.lease_lost(now);
        if next.failures >= MAX_FAILURES {
            return next.given_up(now);
        }
        next.state = UnitState::Waiting;
        next
    }

    /// The unit as its last owner holds it: as it is, or with the loss of the lease undone while nobody else has
    /// claimed it. `None`: it was handed back, or ended.
    pub fn held_again(&self) -> Option<Self> {
        if self.state == UnitState::Leased {
            return Some(self.clone());
        }
        let last = self.attempts.last()?;
        if self.state != UnitState::Waiting || last.how != LEASE_LOST {
            return None;
        }
        let mut next = self.clone();
        next.state = UnitState::Leased;
        next.owner = Some(last.owner.clone());
        if !next.has_progressed {
            next.failures = next.failures.saturating_sub(1);
        }
        let last = next.attempts.last_mut()?;
        last.ended = None;
        last.how.clear();
        Some(next)
    }

    fn given_up(&self, now: DateTime<Utc>) -> Self {
        let mut next = self.clone();
        next.state = UnitState::Failed;
        next.error
            .get_or_insert_with(|| format!("{MAX_FAILURES} workers were lost on it"));
        next.close_attempt("given up", now);
        next
    }

    /// Ends the unit of a job that ended without it.
    #[must_use]
    pub fn cancelled(&self, now: DateTime<Utc>) -> Self {
        let mut next = self.clone();
        next.state = UnitState::Cancelled;
        next.close_attempt("cancelled", now);
        next
    }

    fn check_lease(&self, worker: &WorkerId, attempt: u32) -> Result<(), LeaseLost> {
        let is_mine = self.state == UnitState::Leased
            && self.attempt == attempt
            && self.owner.as_ref() == Some(worker);
        if is_mine {
            return Ok(());
        }
        Err(LeaseLost {
            key: self.key.clone(),
            attempt: self.attempt,
            mine: attempt,
            state: self.state,
        })
    }

    /// A heartbeat: the record's write itself is the sign of life, the progress rides along.
    pub fn beat(
        &self,
        worker: &WorkerId,
        attempt: u32,
        progress: &Progress,
    ) -> Result<Self, LeaseLost> {
        self.check_lease(worker, attempt)?;
        let mut next = self.clone();
        next.percent = progress.percent.min(99).max(self.percent);
        next.eta_s = progress.eta_s;
        next.step.clone_from(&progress.step);
        if let Some(named) = &progress.checkpoints {
            let is_new = |it: &Checkpoint| !self.checkpoints.contains(it);
            next.has_progressed |= named.last().is_some_and(is_new);
            next.checkpoints.clone_from(named);
        }
        if let Some(last) = next.attempts.last_mut() {
            last.resumed_percent = progress.resumed_percent.or(last.resumed_percent);
        }
        Ok(next)
    }

    /// The one commit of a unit: names its outputs.
    pub fn commit(
        &self,
        worker: &WorkerId,
        attempt: u32,
        outputs: Vec<Output>,
        rejected: Vec<RejectedInput>,
        now: DateTime<Utc>,
    ) -> Result<Self, LeaseLost> {
        self.check_lease(worker, attempt)?;
        let mut next = self.clone();
        next.state = UnitState::Done;
        next.percent = 100;
        "done".clone_into(&mut next.step);
        next.outputs = outputs;
        next.rejected = rejected;
        next.close_attempt("committed", now);
        Ok(next)
    }

    /// The attempt ended with an error; a permanent one, or the third, ends the unit.
    pub fn fail(
        &self,
        worker: &WorkerId,
        attempt: u32,
        error: &str,
        is_permanent: bool,
        now: DateTime<Utc>,
    ) -> Result<Self, LeaseLost> {
        self.check_lease(worker, attempt)?;
        let mut next = self.clone();
        next.failures += 1;
        next.error = Some(error.to_owned());
        next.state = if is_permanent || next.failures >= MAX_FAILURES {
            UnitState::Failed
        } else {
            UnitState::Waiting
        };
        next.close_attempt(&format!("error: {error}"), now);
        Ok(next)
    }

    /// The worker gives the unit back unharmed. Counts nothing.
    pub fn hand_back(
        &self,
        worker: &WorkerId,
        attempt: u32,
        why: HandedBack,
        now: DateTime<Utc>,
    ) -> Result<Self, LeaseLost> {
        self.check_lease(worker, attempt)?;
        let mut next = self.clone();
        next.state = UnitState::Waiting;
        next.close_attempt(why.as_str(), now);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::ids::Dir;
    use crate::job::{DataParameters, JobEvent, JobParameters};
    use crate::keys::JobKind;
    use crate::messages::UnitClass;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn dir() -> Dir {
        Dir::parse("DkxD9Kjl").unwrap()
    }

    fn key() -> UnitKey {
        UnitKey {
            dir: dir(),
            kind: JobKind::Data,
            unit: 0,
        }
    }

    fn worker(name: &str) -> WorkerId {
        WorkerId::parse(name).unwrap()
    }

    fn assembling() -> JobRecord {
        let parameters = JobParameters::Data(DataParameters::default());
        JobRecord::accepted(
            dir(),
            1,
            parameters,
            UnitClass::cpu(),
            "me".to_owned(),
            at(0),
        )
    }

    fn job() -> JobRecord {
        let event = JobEvent::Assembled {
            units: 2,
            snapshot: "s".to_owned(),
        };
        assembling().apply(event, 64, at(0)).unwrap().unwrap().0
    }

    fn claim(job: &JobRecord, unit: Option<(&UnitRecord, i64)>, who: &str, now: i64) -> Claim {
        decide_claim(
            job,
            unit.map(|(unit, written)| (unit, at(written))),
            &key(),
            &worker(who),
            at(now),
            Timing::default(),
        )
    }

    fn taken(claim: Claim) -> UnitRecord {
        match claim {
            Claim::Take(unit) => unit,
            other => panic!("not taken: {other:?}"),
        }
    }

    #[test]
    fn an_absent_unit_is_waiting_and_its_claim_creates_it() {
        let unit = taken(claim(&job(), None, "a", 0));
        assert_eq!(
            (unit.attempt, unit.state, unit.failures),
            (1, UnitState::Leased, 0)
        );
    }

    #[test]
    fn a_live_lease_is_left_alone_and_a_dead_one_is_taken_over_and_counted() {
        let first = taken(claim(&job(), None, "a", 0));
        assert_eq!(claim(&job(), Some((&first, 0)), "b", 52), Claim::Live);
        let second = taken(claim(&job(), Some((&first, 0)), "b", 53));
        assert_eq!((second.attempt, second.failures), (2, 1));
        assert_eq!(second.attempts[0].how, "lease lost");
        assert!(
            first
                .commit(&worker("a"), 1, vec![], vec![], at(60))
                .is_ok(),
            "alone it would commit ..."
        );
        assert!(
            second
                .commit(&worker("a"), 1, vec![], vec![], at(60))
                .is_err(),
            "... but the fence holds"
        );
    }

    #[test]
    fn three_lost_leases_end_a_unit_but_progress_forgives() {
        let mut unit = taken(claim(&job(), None, "a", 0));
        unit = taken(claim(&job(), Some((&unit, 0)), "b", 100));
        unit = taken(claim(&job(), Some((&unit, 100)), "c", 200));
        let progress = Progress {
            checkpoints: Some(vec![Checkpoint {
                key: "one".to_owned(),
                sha256: String::new(),
                percent: 10,
                is_best: false,
            }]),
            ..Progress::default()
        };
        let forgiven = unit.beat(&worker("c"), 3, &progress).unwrap();
        assert_eq!(
            taken(claim(&job(), Some((&forgiven, 200)), "d", 300)).failures,
            2
        );
        match claim(&job(), Some((&unit, 200)), "d", 300) {
            Claim::GiveUp(unit) => assert_eq!(unit.state, UnitState::Failed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_end_a_unit_at_the_third_or_at_once_when_permanent() {
        let unit = taken(claim(&job(), None, "a", 0));
        let once = unit
            .fail(&worker("a"), 1, "disk full", false, at(1))
            .unwrap();
        assert_eq!((once.state, once.failures), (UnitState::Waiting, 1));
        let never = unit
            .fail(&worker("a"), 1, "no such model", true, at(1))
            .unwrap();
        assert_eq!(never.state, UnitState::Failed);
        assert_eq!(claim(&job(), Some((&never, 1)), "b", 2), Claim::Ended);
        let mut again = job();
        again.round = 1;
        assert_eq!(
            taken(claim(&again, Some((&never, 1)), "b", 2)).failures,
            0,
            "a retry starts from nothing"
        );
    }

    #[test]
    fn a_hand_back_counts_nothing() {
        let unit = taken(claim(&job(), None, "a", 0));
        let back = unit
            .hand_back(&worker("a"), 1, HandedBack::Preempted, at(1))
            .unwrap();
        assert_eq!((back.state, back.failures), (UnitState::Waiting, 0));
        assert_eq!(taken(claim(&job(), Some((&back, 1)), "b", 2)).attempt, 2);
    }

    #[test]
    fn percent_never_falls_within_an_attempt_and_stays_below_100_until_done() {
        let unit = taken(claim(&job(), None, "a", 0));
        let progress = |percent| Progress {
            percent,
            ..Progress::default()
        };
        let unit = unit.beat(&worker("a"), 1, &progress(190)).unwrap();
        assert_eq!(unit.percent, 99);
        let unit = unit.beat(&worker("a"), 1, &progress(3)).unwrap();
        assert_eq!(unit.percent, 99);
        assert_eq!(
            unit.commit(&worker("a"), 1, vec![], vec![], at(1))
                .unwrap()
                .percent,
            100
        );
    }

    #[test]
    fn units_of_an_ended_job_are_ended_by_whoever_meets_them() {
        let unit = taken(claim(&job(), None, "a", 0));
        let cancelled = job()
            .apply(
                JobEvent::Cancelled {
                    by: "me".to_owned(),
                },
                64,
                at(1),
            )
            .unwrap()
            .unwrap()
            .0;
        match claim(&cancelled, Some((&unit, 0)), "b", 1) {
            Claim::JobEnded(Some(unit)) => assert_eq!(unit.state, UnitState::Cancelled),
            other => panic!("{other:?}"),
        }
        assert_eq!(claim(&cancelled, None, "b", 1), Claim::JobEnded(None));
    }

    #[test]
    fn hints_for_nothing_are_told_apart() {
        assert_eq!(claim(&assembling(), None, "a", 0), Claim::NotYet);
        let far = UnitKey { unit: 2, ..key() };
        assert_eq!(
            decide_claim(&job(), None, &far, &worker("a"), at(0), Timing::default()),
            Claim::Unknown
        );
    }
}
