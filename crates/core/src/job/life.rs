//! What happens to a job, and what it becomes: a pure function of the record and an event.

use chrono::{DateTime, Utc};

use super::{Change, Cursor, JobRecord, JobState, Units};
use crate::bitmap::Bitmap;
use crate::ids::Dir;
use crate::keys::JobKind;

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
