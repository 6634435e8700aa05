//! The job record and its life: `assembling -> queued -> running -> collecting -> done | failed | cancelled`.
//!
//! Every change is a pure function of the record and an event. Whoever swaps the record sends the hints
//! that the change asks for, afterwards (DESIGN 4, 5).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::bitmap::Bitmap;
use crate::document::Stamp;
use crate::formats::ProjectKeys;
use crate::ids::{BatchId, CaseId, Dir, TableName};
use crate::impl_document;
use crate::keys::JobKind;
use crate::messages::UnitClass;
use crate::training::{PredictParameters, TrainParameters};

/// `datasets/<dir>/data.json`, `projects/<dir>/train.json` and their like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub kind: JobKind,
    pub dir: Dir,
    /// The counted number of the data set or project.
    pub number: u64,
    #[serde(default)]
    pub description: String,
    pub parameters: JobParameters,
    pub state: JobState,
    /// Grows with every retry.
    #[serde(default)]
    pub round: u32,
    /// Which workers serve its units.
    pub class: UnitClass,
    #[serde(default)]
    pub units: Units,
    #[serde(default)]
    pub wishes: Wishes,
    /// How far assembling or collecting came; a swap of it is a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// The hash of the frozen input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Of a prediction: the list of its classes, as legacy readers want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// What else is to be said about the result: figures, counts, what was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub by: String,
    pub times: Times,
    /// Since when what its units left beside the result is being removed, or is gone: it can't be retried any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<DateTime<Utc>>,
    /// Since when its result is being erased with a case, or is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<DateTime<Utc>>,
    /// The last [`JobRecord::MAX_HISTORY`] changes, oldest first.
    #[serde(default)]
    pub history: Vec<Change>,
    /// Of a project: the keys that readers of the legacy `train.json` and `predict.json` look for.
    #[serde(flatten)]
    pub project: Option<ProjectKeys>,
}

impl_document!(JobRecord);

/// What a job is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobParameters {
    Data(DataParameters),
    Train(TrainParameters),
    Predict(PredictParameters),
}

impl JobParameters {
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Data(_) => JobKind::Data,
            Self::Train(_) => JobKind::Train,
            Self::Predict(_) => JobKind::Predict,
        }
    }

    /// The data set that a project stands on.
    pub const fn dataset(&self) -> Option<&Dir> {
        match self {
            Self::Data(_) => None,
            Self::Train(it) => Some(&it.ddir),
            Self::Predict(it) => Some(&it.ddir),
        }
    }
}

/// How cells are found and cut (FORMATS A.6, A.9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataParameters {
    /// Detector and classifier see grey; the stored crop stays in colour (decision 3).
    pub gray: bool,
    /// Side of a crop in pixels.
    pub size: u32,
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// The detector; 0 is the classical finder.
    pub mid: u64,
    /// Write loose PNGs too, and use those that are there.
    pub cache: bool,
    /// Type 2: a point takes the nearest detection whose centre is less than this away, in pixels.
    pub match_radius: u32,
    /// Type 2: match boxes by overlap instead, at least this intersection over union.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_iou: Option<f64>,
    pub batches: Vec<BatchId>,
    /// Empty: all cases of the batches.
    pub cases: Vec<CaseId>,
    /// Only images with a label of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_type: Option<TableName>,
}

impl Default for DataParameters {
    fn default() -> Self {
        Self {
            gray: true,
            size: crate::boxes::DEFAULT_CROP_SIZE,
            data_type: DataType::Points,
            mid: 0,
            cache: true,
            match_radius: 20,
            match_iou: None,
            batches: Vec::new(),
            cases: Vec::new(),
            label_type: None,
        }
    }
}

/// `parameter_type` of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum DataType {
    /// 0: every detection is a cell of class 100.
    Detect,
    /// 1: every labelled point is a cell of its class.
    Points,
    /// 2: detections that a doctor's point confirms, with the doctor's class.
    Both,
    /// 3: whole images with the class of their label.
    WholeImage,
}

impl DataType {
    pub const fn number(self) -> u8 {
        match self {
            Self::Detect => 0,
            Self::Points => 1,
            Self::Both => 2,
            Self::WholeImage => 3,
        }
    }

    pub const fn detects(self) -> bool {
        matches!(self, Self::Detect | Self::Both)
    }
}

impl From<DataType> for u8 {
    fn from(it: DataType) -> Self {
        it.number()
    }
}

impl TryFrom<u8> for DataType {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        [Self::Detect, Self::Points, Self::Both, Self::WholeImage]
            .into_iter()
            .find(|it| it.number() == number)
            .ok_or_else(|| {
                format!("data type {number} is none of 0 detect, 1 points, 2 both, 3 whole images")
            })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Assembling,
    Queued,
    Running,
    Collecting,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// `queued`: as it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assembling => "assembling",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Collecting => "collecting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The predecessor's numbers: 0 init, 1 ready, 2 processing, 3 error, 4 done (FORMATS A.3).
    pub const fn legacy_status(self) -> u8 {
        match self {
            Self::Assembling => 0,
            Self::Queued => 1,
            Self::Running | Self::Collecting => 2,
            Self::Failed | Self::Cancelled => 3,
            Self::Done => 4,
        }
    }
}

/// Units of a job and which of them ended, in this round or an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    pub count: u32,
    #[serde(default)]
    pub done: Bitmap,
    #[serde(default)]
    pub failed: Bitmap,
}

impl Units {
    pub fn is_ended(&self, unit: u32) -> bool {
        self.done.contains(unit) || self.failed.contains(unit)
    }

    pub fn n_ended(&self) -> u32 {
        self.done.len() + self.failed.len()
    }

    pub fn all_ended(&self) -> bool {
        self.n_ended() >= self.count
    }

    /// The lowest `size` numbers that are not ended: those that should be out as hints.
    pub fn window(&self, size: usize) -> Vec<u32> {
        (0..self.count)
            .filter(|&unit| !self.is_ended(unit))
            .take(size)
            .collect()
    }
}

/// What people want of a running job. They live in the job only; units look them up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    #[serde(default)]
    pub cancel: bool,
    #[serde(default)]
    pub stop: bool,
    #[serde(default)]
    pub urgent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// What is being done: `inputs`, `cells`, ...
    pub step: String,
    /// How many pieces of it are done.
    pub at: u64,
    pub of: u64,
}

/// When the job changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub created: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collecting: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
}

/// One line of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at: DateTime<Utc>,
    pub what: String,
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// The input is frozen and cut.
    Assembled {
        units: u32,
        snapshot: String,
    },
    /// Assembling or collecting came further.
    Progressed(Cursor),
    /// A claim or heartbeat saw the job still queued.
    WorkStarted,
    /// Units ended in this round.
    UnitsEnded {
        done: Vec<u32>,
        failed: Vec<u32>,
    },
    /// The result files are durable.
    Collected {
        result: serde_json::Value,
        report: Option<serde_json::Value>,
    },
    /// It can't go on: bad settings, a missing model.
    Failed {
        error: String,
    },
    Cancelled {
        by: String,
    },
    /// Keep the best so far and end; before there is anything to keep it is a cancel.
    Stopped {
        by: String,
    },
    Raised {
        by: String,
    },
    Retried {
        by: String,
    },
}

/// What to do after the swap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Units whose hints are to be sent now.
    pub hints: Vec<u32>,
    /// Send "look at this job" to collect.
    pub collect: bool,
    /// The job has ended with this change; the janitor removes its mark from `active/`.
    pub ended: bool,
}

/// An event that the job's state does not allow. The text is for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("job `{dir}` is {}: {why}", state.as_str())]
pub struct NotAllowed {
    pub dir: Dir,
    pub state: JobState,
    pub why: &'static str,
}

/// How many units of a job should be out as hints at once: above twice the fleet.
pub const DEFAULT_WINDOW: usize = 64;

impl JobRecord {
    pub const MAX_HISTORY: usize = 50;

    /// A job as it is accepted.
    pub fn accepted(
        dir: Dir,
        number: u64,
        parameters: JobParameters,
        class: UnitClass,
        by: String,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            stamp: Stamp::default(),
            kind: parameters.kind(),
            dir,
            number,
            description: String::new(),
            parameters,
            state: JobState::Assembling,
            round: 0,
            class,
            units: Units::default(),
            wishes: Wishes::default(),
            cursor: None,
            snapshot: None,
            result: None,
            report: None,
            error: None,
            times: Times {
                created: now,
                queued: None,
                started: None,
                collecting: None,
                ended: None,
            },
            cleared: None,
            erased: None,
            history: vec![Change {
                at: now,
                what: format!("accepted from {by}"),
            }],
            by,
            project: None,
        }
    }

    /// Percent for people: 0 to 99 until done, by ended units; 100 only when done.
    pub fn percent(&self) -> u8 {
        match self.state {
            JobState::Done => 100,
            JobState::Collecting => 99,
            _ if self.units.count == 0 => 0,
            _ => (u64::from(self.units.done.len()) * 99 / u64::from(self.units.count)) as u8,
        }
    }

    /// Applies an event. `Ok(None)`: it changes nothing (it was applied before, or came too late).
    pub fn apply(
        &self,
        event: JobEvent,
        window: usize,
        now: DateTime<Utc>,
    ) -> Result<Option<(Self, Effects)>, NotAllowed> {
        let mut next = self.clone();
        let effects = match event {
            JobEvent::Assembled { units, snapshot } => next.assembled(units, snapshot, window, now),
            JobEvent::Progressed(cursor) => next.progressed(cursor),
            JobEvent::WorkStarted => next.work_started(now),
            JobEvent::UnitsEnded { done, failed } => next.units_ended(&done, &failed, window, now),
            JobEvent::Collected { result, report } => next.collected(result, report, now),
            JobEvent::Failed { error } => next.fail(error, now),
            JobEvent::Cancelled { by } => next.cancel(&by, now)?,
            JobEvent::Stopped { by } => next.stop(&by, now)?,
            JobEvent::Raised { by } => next.raise(&by, window, now)?,
            JobEvent::Retried { by } => next.retry(&by, window, now)?,
        };
        Ok(effects.map(|effects| (next, effects)))
    }

    fn refuse<T>(&self, why: &'static str) -> Result<T, NotAllowed> {
        Err(NotAllowed {
            dir: self.dir.clone(),
            state: self.state,
            why,
        })
    }

    pub(crate) fn note(&mut self, now: DateTime<Utc>, what: String) {
        self.history.push(Change { at: now, what });
        let excess = self.history.len().saturating_sub(Self::MAX_HISTORY);
        self.history.drain(..excess);
    }

    fn assembled(
        &mut self,
        units: u32,
        snapshot: String,
        window: usize,
        now: DateTime<Utc>,
    ) -> Option<Effects> {
        if self.state != JobState::Assembling {
            return None;
        }
        self.units = Units {
            count: units,
            ..Units::default()
        };
        self.snapshot = Some(snapshot);
        self.cursor = None;
        self.times.queued = Some(now);
        self.state = JobState::Queued;
        self.note(now, format!("assembled into {units} units"));
        if units == 0 {
            return Some(self.begin_collecting(now));
        }
        Some(Effects {
            hints: self.units.window(window),
            ..Effects::default()
        })
    }

    fn progressed(&mut self, cursor: Cursor) -> Option<Effects> {
        if !matches!(self.state, JobState::Assembling | JobState::Collecting) {
            return None;
        }
        self.cursor = Some(cursor);
        Some(Effects::default())
    }

    fn work_started(&mut self, now: DateTime<Utc>) -> Option<Effects> {
        if self.state != JobState::Queued {
            return None;
        }
        self.state = JobState::Running;
        self.times.started.get_or_insert(now);
        self.note(now, "running".to_owned());
        Some(Effects::default())
    }

    fn units_ended(
        &mut self,
        done: &[u32],
        failed: &[u32],
        window: usize,
        now: DateTime<Utc>,
    ) -> Option<Effects> {
        if !matches!(self.state, JobState::Queued | JobState::Running) {
            return None;
        }
        let before = self.units.window(window);
        let known = |unit: &&u32| **unit < self.units.count;
        let done: Vec<u32> = done.iter().filter(known).copied().collect();
        let failed: Vec<u32> = failed.iter().filter(known).copied().collect();
        let mut is_changed = false;
        for unit in done {
            is_changed |= self.units.done.insert(unit);
            // A unit that was given up and finished after all is done.
            self.units.failed.remove(unit);
        }
        for unit in failed {
            is_changed |= !self.units.done.contains(unit) && self.units.failed.insert(unit);
        }
        if self.units.all_ended() {
            return if self.units.failed.is_empty() {
                Some(self.begin_collecting(now))
            } else {
                Some(self.end_with_failed_units(now))
            };
        }
        if !is_changed {
            return None;
        }
        let hints = self
            .units
            .window(window)
            .into_iter()
            .filter(|unit| !before.contains(unit))
            .collect();
        Some(Effects {
            hints,
            ..Effects::default()
        })
    }

    fn begin_collecting(&mut self, now: DateTime<Utc>) -> Effects {
        self.state = JobState::Collecting;
        self.times.started.get_or_insert(now);
        self.times.collecting = Some(now);
        self.note(now, "all units done, collecting".to_owned());
        Effects {
            collect: true,
            ..Effects::default()
        }
    }

    fn end_with_failed_units(&mut self, now: DateTime<Utc>) -> Effects {
        let failed: Vec<String> = self
            .units
            .failed
            .iter()
            .take(10)
            .map(|it| it.to_string())
            .collect();
        let error = format!(
            "{} of {} units failed: {}",
            self.units.failed.len(),
            self.units.count,
            failed.join(", ")
        );
        self.end(JobState::Failed, Some(error), now)
    }

    fn collected(
        &mut self,
        result: serde_json::Value,
        report: Option<serde_json::Value>,
        now: DateTime<Utc>,
    ) -> Option<Effects> {
        if self.state != JobState::Collecting {
            return None;
        }
        self.result = Some(result);
        self.report = report;
        Some(self.end(JobState::Done, None, now))
    }

    fn fail(&mut self, error: String, now: DateTime<Utc>) -> Option<Effects> {
        if self.state.is_ended() {
            return None;
        }
        Some(self.end(JobState::Failed, Some(error), now))
    }

    fn end(&mut self, state: JobState, error: Option<String>, now: DateTime<Utc>) -> Effects {
        self.state = state;
        self.cursor = None;
        self.times.ended = Some(now);
        self.note(
            now,
            error
                .clone()
                .unwrap_or_else(|| format!("{state:?}").to_lowercase()),
        );
        self.error = error;
        Effects {
            ended: true,
            ..Effects::default()
        }
    }

    fn cancel(&mut self, by: &str, now: DateTime<Utc>) -> Result<Option<Effects>, NotAllowed> {
        match self.state {
            JobState::Cancelled => Ok(None),
            JobState::Assembling | JobState::Queued | JobState::Running => {
                self.wishes.cancel = true;
                self.note(now, format!("cancelled by {by}"));
                Ok(Some(self.end(JobState::Cancelled, None, now)))
            }
            JobState::Collecting => {
                self.refuse("its result is being written, it can't be cancelled any more")
            }
            JobState::Done | JobState::Failed => self.refuse("it has ended"),
        }
    }

    fn stop(&mut self, by: &str, now: DateTime<Utc>) -> Result<Option<Effects>, NotAllowed> {
        if self.state == JobState::Collecting {
            return self.refuse("its result is being written, there is nothing left to stop");
        }
        if matches!(self.state, JobState::Done | JobState::Failed) {
            return self.refuse("it has ended");
        }
        if self.kind != JobKind::Train || self.class.is_legacy() {
            return self.refuse("only a training keeps the best so far: cancel it");
        }
        if self.state == JobState::Cancelled || self.wishes.stop {
            return Ok(None);
        }
        if self.times.started.is_none() {
            return self.cancel(&format!("{by}, who stopped it before it began"), now);
        }
        self.wishes.stop = true;
        self.note(now, format!("stopped by {by}, who keeps the best so far"));
        Ok(Some(Effects::default()))
    }

    fn raise(
        &mut self,
        by: &str,
        window: usize,
        now: DateTime<Utc>,
    ) -> Result<Option<Effects>, NotAllowed> {
        if self.state.is_ended() {
            return self.refuse("it has ended");
        }
        if self.wishes.urgent {
            return Ok(None);
        }
        self.wishes.urgent = true;
        self.note(now, format!("raised by {by}"));
        // Its hints go out again, into the urgent queue; the earlier ones meet a live lease or an ended unit.
        let is_out = matches!(self.state, JobState::Queued | JobState::Running);
        let hints = if is_out {
            self.units.window(window)
        } else {
            Vec::new()
        };
        Ok(Some(Effects {
            hints,
            ..Effects::default()
        }))
    }

    fn retry(
        &mut self,
        by: &str,
        window: usize,
        now: DateTime<Utc>,
    ) -> Result<Option<Effects>, NotAllowed> {
        match self.state {
            JobState::Failed => {}
            JobState::Cancelled => {
                return self.refuse("a cancelled job is not retried: make a new one");
            }
            _ => return self.refuse("only a failed job can be retried"),
        }
        if self.cleared.is_some() {
            return self.refuse("what its units left is gone: make a new one");
        }
        self.round += 1;
        self.wishes.stop = false;
        self.error = None;
        self.result = None;
        self.report = None;
        self.times.ended = None;
        self.units.failed = Bitmap::default();
        self.note(now, format!("round {} begun by {by}", self.round));
        if self.snapshot.is_none() {
            // It failed before its input was cut: assembling goes on where it stopped.
            self.state = JobState::Assembling;
            return Ok(Some(Effects::default()));
        }
        self.state = JobState::Queued;
        if self.units.all_ended() {
            return Ok(Some(self.begin_collecting(now)));
        }
        Ok(Some(Effects {
            hints: self.units.window(window),
            ..Effects::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn job() -> JobRecord {
        let parameters = JobParameters::Data(DataParameters::default());
        JobRecord::accepted(
            Dir::parse("DkxD9Kjl").unwrap(),
            1,
            parameters,
            UnitClass::cpu(),
            "me".to_owned(),
            now(),
        )
    }

    fn step(job: &JobRecord, event: JobEvent) -> (JobRecord, Effects) {
        job.apply(event, 2, now())
            .unwrap()
            .expect("the event changes the job")
    }

    fn queued(units: u32) -> JobRecord {
        step(
            &job(),
            JobEvent::Assembled {
                units,
                snapshot: "s".to_owned(),
            },
        )
        .0
    }

    fn ended(done: &[u32], failed: &[u32]) -> JobEvent {
        JobEvent::UnitsEnded {
            done: done.to_vec(),
            failed: failed.to_vec(),
        }
    }

    fn cancel() -> JobEvent {
        JobEvent::Cancelled {
            by: "me".to_owned(),
        }
    }

    #[test]
    fn hints_are_released_as_units_end() {
        let (job, effects) = step(
            &job(),
            JobEvent::Assembled {
                units: 4,
                snapshot: "s".to_owned(),
            },
        );
        assert_eq!(effects.hints, [0, 1]);
        let (job, effects) = step(&job, ended(&[1], &[]));
        assert_eq!(effects.hints, [2]);
        assert_eq!(
            job.apply(ended(&[1], &[]), 2, now()),
            Ok(None),
            "a repeated end changes nothing"
        );
        let (job, effects) = step(&job, ended(&[0, 2, 3], &[]));
        assert!(effects.collect && effects.hints.is_empty());
        assert_eq!(job.state, JobState::Collecting);
        assert_eq!(job.percent(), 99);
    }

    #[test]
    fn a_job_with_a_failed_unit_fails_when_all_ended_and_retries_only_those() {
        let (job, _) = step(&queued(3), ended(&[0], &[1]));
        assert_eq!(job.state, JobState::Queued, "the others still run");
        let (job, effects) = step(&job, ended(&[2], &[]));
        assert_eq!(job.state, JobState::Failed);
        assert!(effects.ended && !effects.collect);
        let (job, effects) = step(
            &job,
            JobEvent::Retried {
                by: "me".to_owned(),
            },
        );
        assert_eq!(
            (job.round, job.state, effects.hints),
            (1, JobState::Queued, vec![1])
        );
    }

    #[test]
    fn a_cancel_is_final_and_refused_once_results_are_written() {
        let (cancelled, _) = step(&queued(1), cancel());
        for late in [
            ended(&[0], &[]),
            JobEvent::WorkStarted,
            JobEvent::Collected {
                result: serde_json::Value::Null,
                report: None,
            },
        ] {
            assert_eq!(cancelled.apply(late, 2, now()), Ok(None));
        }
        assert!(
            cancelled
                .apply(
                    JobEvent::Retried {
                        by: "me".to_owned()
                    },
                    2,
                    now()
                )
                .is_err()
        );
        let (collecting, _) = step(&queued(1), ended(&[0], &[]));
        assert!(collecting.apply(cancel(), 2, now()).is_err());
    }

    #[test]
    fn raising_sends_the_window_again_once() {
        let raise = || JobEvent::Raised {
            by: "me".to_owned(),
        };
        let (job, effects) = step(&queued(5), raise());
        assert_eq!(effects.hints, [0, 1]);
        assert_eq!(job.apply(raise(), 2, now()), Ok(None));
    }

    #[test]
    fn a_stop_keeps_what_there_is_and_is_a_cancel_before_that() {
        let stop = || JobEvent::Stopped {
            by: "me".to_owned(),
        };
        assert!(
            queued(1).apply(stop(), 2, now()).is_err(),
            "a data set has no best so far"
        );
        let training = |state: &JobRecord| JobRecord {
            kind: JobKind::Train,
            ..state.clone()
        };
        let (cancelled, _) = step(&training(&queued(1)), stop());
        assert_eq!(cancelled.state, JobState::Cancelled);
        let running = step(&training(&queued(1)), JobEvent::WorkStarted).0;
        let (stopped, _) = step(&running, stop());
        assert!(stopped.wishes.stop && stopped.state == JobState::Running);
        assert_eq!(stopped.apply(stop(), 2, now()), Ok(None));
        let (failed, _) = step(&stopped, ended(&[], &[0]));
        assert!(failed.apply(stop(), 2, now()).is_err());
        let retry = JobEvent::Retried {
            by: "me".to_owned(),
        };
        let (again, _) = step(&failed, retry);
        assert!(!again.wishes.stop, "a retry wants the whole");
        assert!(
            step(&again, stop()).0.wishes.stop,
            "an earlier round may have left something"
        );
    }

    #[test]
    fn a_job_without_units_is_collected_at_once() {
        let job = queued(0);
        assert_eq!(job.state, JobState::Collecting);
    }

    #[test]
    fn the_history_keeps_its_last_entries() {
        let mut job = job();
        for n in 0..200 {
            job.note(now(), n.to_string());
        }
        assert_eq!(job.history.len(), JobRecord::MAX_HISTORY);
        assert_eq!(job.history.last().unwrap().what, "199");
    }

    fn any_event() -> impl Strategy<Value = JobEvent> {
        let units = || proptest::collection::vec(0u32..6, 0..4);
        prop_oneof![
            (0u32..6).prop_map(|units| JobEvent::Assembled {
                units,
                snapshot: "s".to_owned()
            }),
            Just(JobEvent::Progressed(Cursor {
                step: "cells".to_owned(),
                at: 1,
                of: 2
            })),
            Just(JobEvent::WorkStarted),
            (units(), units()).prop_map(|(done, failed)| JobEvent::UnitsEnded { done, failed }),
            Just(JobEvent::Collected {
                result: serde_json::Value::Null,
                report: None
            }),
            Just(JobEvent::Failed {
                error: "x".to_owned()
            }),
            Just(JobEvent::Cancelled {
                by: "me".to_owned()
            }),
            Just(JobEvent::Stopped {
                by: "me".to_owned()
            }),
            Just(JobEvent::Raised {
                by: "me".to_owned()
            }),
            Just(JobEvent::Retried {
                by: "me".to_owned()
            }),
        ]
    }

    proptest! {
        #[test]
        fn no_order_of_events_breaks_the_rules(events in proptest::collection::vec(any_event(), 0..40)) {
            let mut job = job();
            for event in events {
                let Ok(Some((next, effects))) = job.apply(event, 2, now()) else { continue };
                prop_assert!(job.state != JobState::Cancelled, "a cancelled job never changes");
                prop_assert!(job.state != JobState::Done, "a done job never changes");
                prop_assert!(next.round >= job.round);
                prop_assert!(effects.hints.iter().all(|&unit| unit < next.units.count && !next.units.is_ended(unit)));
                if next.state == JobState::Done || next.state == JobState::Collecting {
                    prop_assert_eq!(next.units.done.len(), next.units.count);
                }
                prop_assert!(next.units.done.iter().all(|unit| !next.units.failed.contains(unit)));
                prop_assert!((next.percent() == 100) == (next.state == JobState::Done));
                job = next;
            }
        }
    }
}
