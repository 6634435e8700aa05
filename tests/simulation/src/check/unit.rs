//! Writes of unit records: fencing, one commit, percent, what counts as a failure.

use std::time::Duration;

use cellmill_core::checkpoint::Checkpoint;
use cellmill_core::job::JobState;
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::unit::{UnitRecord, UnitState};

use super::{Checker, LEASE};
use crate::machine::{MachineState, Process};

/// What two stamps of whole seconds and drifting clocks may be off, less than the two seconds that are added.
const CLOCKS: Duration = Duration::from_millis(1900);
/// A worker that could do nothing for this long, between two heartbeats, may lose its lease: it stops itself 40 s
/// after the last, and the next came 15 s after that.
const TROUBLE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Claimed,
    /// Of a lease that was over.
    TakenOver,
    Beat,
    Committed,
    Error,
    HandedBack,
    Preempted,
    GivenUp,
    EndedWithJob,
}

impl Checker {
    pub(super) fn unit_written(
        &mut self,
        by: &Process,
        machines: &[MachineState],
        at: Duration,
        key: &UnitKey,
        body: &[u8],
    ) -> Option<String> {
        let after: UnitRecord = match serde_json::from_slice(body) {
            Ok(after) => after,
            Err(error) => {
                self.broken(at, "documents can be read", format!("{key}: {error}"));
                return None;
            }
        };
        let state = self.unit(key).state_text(at);
        let seen = self.unit(key);
        let (before, silent) = (seen.record.take(), at.saturating_sub(seen.written));
        let line = self.is_told.then(|| line(key, &after));
        match step(before.as_ref(), &after) {
            Some(step) => {
                self.unit_table.met(step.as_str(), state);
                self.check_step(by, machines, at, key, step, before.as_ref(), &after, silent);
            }
            None => self.broken(
                at,
                "a unit goes from state to state as designed",
                format!("{key}: {} by {by:?}", change(before.as_ref(), &after)),
            ),
        }
        let job = self.job(&(key.kind, key.dir.clone())).state();
        let seen = self.unit(key);
        seen.written = at;
        let is_ended = after.state.is_ended();
        if !is_ended || before.as_ref().is_none_or(|it| !it.state.is_ended()) {
            seen.ended_since = at;
        }
        if after.state != UnitState::Waiting
            || before.is_some_and(|it| it.state != UnitState::Waiting)
        {
            seen.settled_until = at;
        }
        let is_over = job.is_some_and(JobState::is_ended);
        let is_beat = after.state == UnitState::Leased;
        seen.beats_after_end = if is_over && is_beat {
            seen.beats_after_end + 1
        } else {
            0
        };
        if seen.beats_after_end > 1 {
            let what = format!("{key}: attempt {} goes on", after.attempt);
            self.broken(at, "a heartbeat sees that its job ended", what);
        }
        self.unit(key).record = Some(after);
        line
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of one write")]
    fn check_step(
        &mut self,
        by: &Process,
        machines: &[MachineState],
        at: Duration,
        key: &UnitKey,
        step: Step,
        before: Option<&UnitRecord>,
        after: &UnitRecord,
        silent: Duration,
    ) {
        let change = || format!("{key}: {} by {by:?}", change(before, after));
        let Some(before) = before else {
            if after.attempt != 1 || after.failures != 0 {
                self.broken(at, "a first claim is attempt 1", change());
            }
            return;
        };
        if after.stamp.rev != before.stamp.rev + 1 {
            self.broken(at, "no write of a unit is lost", change());
        }
        if (after.attempt, after.percent) < (before.attempt, before.percent) {
            self.broken(at, "(attempt, percent) never goes back", change());
        }
        let is_holder = before.owner.as_ref() == Some(&by.worker_id());
        let needs_holder = matches!(
            step,
            Step::Beat | Step::Committed | Step::Error | Step::HandedBack | Step::Preempted
        );
        if needs_holder && !is_holder {
            self.broken(at, "only its holder writes a unit", change());
        }
        if matches!(step, Step::TakenOver | Step::GivenUp) {
            if silent + CLOCKS < LEASE {
                let what = format!("{} after {silent:?}", change());
                self.broken(at, "a live lease is not taken", what);
            }
            self.check_owner_had_trouble(machines, at, before, silent, &change);
        }
        if step == Step::EndedWithJob && !is_holder {
            let job = self.job(&(key.kind, key.dir.clone())).state();
            if !job.is_some_and(|it| it.is_ended() || it == JobState::Collecting) {
                self.broken(at, "a unit is cancelled only with its job", change());
            }
        }
        if step == Step::Preempted && (key.kind != JobKind::Train || after.checkpoints.is_empty()) {
            self.broken(at, "only a training with a checkpoint gives way", change());
        }
        for it in &after.checkpoints {
            if !before.checkpoints.contains(it) && !self.checkpoints.contains(&it.key) {
                self.broken(at, "only checkpoints that are there are named", change());
            }
        }
        let is_new_round = after.round > before.round;
        let counted = match step {
            Step::Claimed | Step::TakenOver if is_new_round => 0,
            Step::Error => before.failures + 1,
            Step::TakenOver | Step::GivenUp if !before.has_progressed => before.failures + 1,
            _ => before.failures,
        };
        if after.failures != counted {
            self.broken(at, "failures are counted as designed", change());
        }
    }

    /// Nobody loses a lease who was able to keep it.
    fn check_owner_had_trouble(
        &mut self,
        machines: &[MachineState],
        at: Duration,
        before: &UnitRecord,
        silent: Duration,
        change: &dyn Fn() -> String,
    ) {
        let Some((machine, incarnation)) = before.owner.as_ref().and_then(Process::of_worker)
        else {
            return;
        };
        let owner = &machines[machine];
        if owner.incarnation != incarnation {
            return;
        }
        // What it suffered since shortly before its last write.
        let since = (at.saturating_sub(silent)).saturating_sub(Duration::from_secs(3));
        let suffered: Duration = owner
            .troubles
            .iter()
            .filter(|(began, lasts)| began.saturating_add(*lasts) >= since)
            .fold(Duration::ZERO, |sum, (_, lasts)| sum.saturating_add(*lasts));
        if suffered < TROUBLE {
            self.broken(at, "a worker that is well keeps its lease", change());
        }
    }

    /// Of the unit whose record lies under this key, as its record names them.
    pub(crate) fn named_checkpoints(&self, key: &ObjectKey) -> Vec<Checkpoint> {
        let ObjectKey::Unit(unit) = key else {
            return Vec::new();
        };
        let record = self.units.get(unit).and_then(|it| it.record.as_ref());
        record.map_or(Vec::new(), |it| it.checkpoints.clone())
    }

    pub(super) fn checkpoint_deleted(&mut self, at: Duration, unit: &UnitKey, key: &str) {
        self.checkpoints.remove(key);
        let record = self.unit(unit).record.as_ref();
        let is_named = record.is_some_and(|it| {
            let is_open = !it.state.is_ended();
            is_open && it.checkpoints.iter().any(|it| it.key == key)
        });
        if is_named {
            self.broken(at, "a checkpoint that is named stays", key.to_owned());
        }
    }

    pub(super) fn output_deleted(&mut self, at: Duration, key: &UnitKey, attempt: u32) {
        let newest = self.unit(key).record.as_ref().map(|it| it.attempt);
        if newest.is_some_and(|it| it <= attempt) {
            let what = format!("{key}: attempt {attempt}");
            self.broken(at, "outputs of the last attempt stay", what);
        }
    }
}

/// Which step of its life a write is; `None`: none.
fn step(before: Option<&UnitRecord>, after: &UnitRecord) -> Option<Step> {
    use UnitState::{Cancelled, Done, Failed, Leased, Waiting};
    let Some(before) = before else {
        return (after.state == Leased).then_some(Step::Claimed);
    };
    let is_next = after.attempt == before.attempt + 1;
    let is_same = after.attempt == before.attempt;
    let how = after.attempts.last().map_or("", |it| it.how.as_str());
    match (before.state, after.state) {
        (Waiting, Leased) if is_next => Some(Step::Claimed),
        (Failed | Cancelled, Leased) if is_next && after.round > before.round => {
            Some(Step::Claimed)
        }
        (Leased, Leased) if is_next => Some(Step::TakenOver),
        (Leased, Leased) if is_same => Some(Step::Beat),
        (Leased, Done) if is_same => Some(Step::Committed),
        (Leased, Waiting) if is_same && how == "handed back" => Some(Step::HandedBack),
        (Leased, Waiting) if is_same && how.starts_with("preempted") => Some(Step::Preempted),
        (Leased, Waiting | Failed) if is_same && how.starts_with("error") => Some(Step::Error),
        (Leased, Failed) if is_same => Some(Step::GivenUp),
        (Leased | Waiting, Cancelled) if is_same => Some(Step::EndedWithJob),
        _ => None,
    }
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed | Self::TakenOver => "claimed",
            Self::Beat => "heartbeat",
            Self::Committed => "committed",
            Self::Error => "error",
            Self::HandedBack => "handed back",
            Self::Preempted => "preempted",
            Self::GivenUp => "given up",
            Self::EndedWithJob => "ended with its job",
        }
    }
}

fn short(it: &UnitRecord) -> String {
    let owner = it.owner.as_ref().map_or("nobody", |it| it.as_str());
    format!(
        "{:?} round {} attempt {} of {owner}, {} %, {} failures, rev {}",
        it.state, it.round, it.attempt, it.percent, it.failures, it.stamp.rev
    )
}

fn change(before: Option<&UnitRecord>, after: &UnitRecord) -> String {
    let before = before.map_or("absent".to_owned(), short);
    format!("{before} -> {}", short(after))
}

fn line(key: &UnitKey, after: &UnitRecord) -> String {
    format!("unit {key}: {}", short(after))
}
