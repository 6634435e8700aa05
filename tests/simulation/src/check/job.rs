//! Writes of job records, of result files and of marks.

use std::time::Duration;

use bytes::Bytes;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::UnitKey;
use cellmill_core::unit::UnitState;

use super::{Checker, JobName, state_text};
use crate::machine::Process;
use crate::plan::Verb;

impl Checker {
    pub(super) fn job_written(
        &mut self,
        by: &Process,
        at: Duration,
        name: &JobName,
        body: &[u8],
    ) -> Option<String> {
        let after: JobRecord = match serde_json::from_slice(body) {
            Ok(after) => after,
            Err(error) => {
                self.broken(at, "documents can be read", format!("{}: {error}", name.1));
                return None;
            }
        };
        let before = self.job(name).record.take();
        let line = self
            .is_told
            .then(|| format!("job {}: {}", name.1, short(&after)));
        self.check_job(by, at, name, before.as_ref(), &after);
        let old = before.as_ref().map(|it| it.state);
        for event in events(before.as_ref(), &after) {
            self.job_table.met(event, state_text(old));
        }
        if after.state == JobState::Cancelled && old != Some(JobState::Cancelled) {
            self.units_met(at, name, after.units.count, "job cancelled");
        }
        if before.as_ref().is_some_and(|it| it.round < after.round) {
            self.units_met(at, name, after.units.count, "job retried");
        }
        let is_new_round = before.as_ref().is_none_or(|it| it.round < after.round);
        let seen = self.job(name);
        if is_new_round {
            seen.round_since = at;
        }
        if old != Some(after.state) {
            seen.since = at;
        }
        let counted = |unit: &u32| after.units.is_ended(*unit);
        for unit in (0..after.units.count).filter(counted) {
            seen.counted.entry(unit).or_insert(at);
        }
        seen.counted.retain(|unit, _| after.units.is_ended(*unit));
        seen.is_accepted = true;
        seen.record = Some(after);
        line
    }

    fn units_met(&mut self, at: Duration, name: &JobName, count: u32, event: &'static str) {
        for unit in 0..count {
            let key = unit_key(name, unit);
            let state = self.unit(&key).state_text(at);
            self.unit_table.met(event, state);
        }
    }

    fn check_job(
        &mut self,
        by: &Process,
        at: Duration,
        name: &JobName,
        before: Option<&JobRecord>,
        after: &JobRecord,
    ) {
        let change = || {
            let before = before.map_or("absent".to_owned(), short);
            format!("{}: {before} -> {} by {by:?}", name.1, short(after))
        };
        let Some(before) = before else {
            if after.state != JobState::Assembling {
                self.broken(at, "a job begins with assembling", change());
            }
            if !self.job(name).marks.contains_key(&after.round) {
                self.broken(at, "a mark comes before its job", change());
            }
            return;
        };
        if after.stamp.rev != before.stamp.rev + 1 {
            self.broken(at, "no write of a job is lost", change());
        }
        if before.state == JobState::Cancelled {
            self.broken(at, "a cancelled job stays as it is", change());
        }
        if !is_allowed(before, after) {
            self.broken(at, "a job goes from state to state as designed", change());
        }
        if after.round != before.round && !self.job(name).marks.contains_key(&after.round) {
            self.broken(at, "a mark comes before its round", change());
        }
        let wishes = (&before.wishes, &after.wishes);
        let is_stop_lost = wishes.0.stop && !wishes.1.stop && after.round == before.round;
        let is_urgency_lost = wishes.0.urgent && !wishes.1.urgent;
        if is_stop_lost || is_urgency_lost || (wishes.0.cancel && !wishes.1.cancel) {
            self.broken(at, "a wish stays", change());
        }
        self.check_bits(at, name, before, after, &change);
    }

    fn check_bits(
        &mut self,
        at: Duration,
        name: &JobName,
        before: &JobRecord,
        after: &JobRecord,
        change: &dyn Fn() -> String,
    ) {
        for unit in 0..after.units.count {
            let truth = self
                .unit(&unit_key(name, unit))
                .record
                .as_ref()
                .map(|it| (it.state, it.round));
            let is_done = matches!(truth, Some((UnitState::Done, _)));
            if after.units.done.contains(unit) && !is_done {
                self.broken(at, "a unit counts as done when it was committed", change());
            }
            if before.units.done.contains(unit) && !after.units.done.contains(unit) {
                self.broken(at, "what is done stays done", change());
            }
            let is_new = after.units.failed.contains(unit) && !before.units.failed.contains(unit);
            let has_failed =
                matches!(truth, Some((UnitState::Failed, round)) if round >= after.round);
            if is_new && !has_failed {
                self.broken(
                    at,
                    "a unit counts as failed when it failed in this round",
                    change(),
                );
            }
        }
        if after.state == JobState::Done
            && !(0..after.units.count).all(|it| after.units.done.contains(it))
        {
            self.broken(at, "a job is done when all its units are", change());
        }
    }

    pub(super) fn result_written(&mut self, at: Duration, name: &JobName, key: &str, body: &Bytes) {
        let job = self.job(name);
        let (state, cancelled) = (job.state(), job.cancel_acknowledged);
        if !matches!(state, Some(JobState::Collecting | JobState::Done)) {
            let told = cancelled.map_or(String::new(), |it| {
                format!(", its cancel was acknowledged at {:.3}", it.as_secs_f64())
            });
            let what = format!("{key} while the job is {}{told}", state_text(state));
            self.broken(at, "no result file but of a job that is collected", what);
        }
        let before = self.results.insert(key.to_owned(), body.clone());
        if state == Some(JobState::Done) && before.is_some_and(|it| it != body) {
            self.broken(at, "the result of a job that is done stays", key.to_owned());
        }
    }

    pub(super) fn mark_changed(
        &mut self,
        at: Duration,
        name: &JobName,
        round: u32,
        is_there: bool,
    ) {
        let job = self.job(name);
        if is_there {
            job.marks.insert(round, at);
            return;
        }
        let made = job.marks.remove(&round);
        let is_needed = job.record.as_ref().map_or(made.is_some(), |it| {
            it.round == round && !it.state.is_ended()
        });
        let is_old = made.is_some_and(|it| at.saturating_sub(it) > Duration::from_hours(1));
        if is_needed && !is_old {
            let what = format!("{} round {round}", name.1);
            self.broken(at, "a mark stays until its round has ended", what);
        }
    }

    /// A person was told that what they wanted is done.
    pub(crate) fn acknowledged(&mut self, at: Duration, name: &JobName, verb: Option<Verb>) {
        let job = self.job(name);
        let state = job.state();
        let is_urgent = job.record.as_ref().is_some_and(|it| it.wishes.urgent);
        let is_stopped = job.record.as_ref().is_some_and(|it| it.wishes.stop);
        let round = job.record.as_ref().map_or(0, |it| it.round);
        let is_kept = match verb {
            None => state.is_some(),
            Some(Verb::Cancel) => {
                job.cancel_acknowledged.get_or_insert(at);
                state == Some(JobState::Cancelled)
            }
            // A retry that came in between wants the whole again.
            Some(Verb::Stop) => is_stopped || state == Some(JobState::Cancelled) || round > 0,
            Some(Verb::Raise) => is_urgent,
            Some(Verb::Retry | Verb::Look) => true,
        };
        if !is_kept {
            let verb = verb.map_or("submit", Verb::as_str);
            let what = format!("{verb} {}: the job is {}", name.1, state_text(state));
            self.broken(at, "what was acknowledged is so", what);
        }
    }
}

pub(super) fn unit_key(name: &JobName, unit: u32) -> UnitKey {
    UnitKey {
        dir: name.1.clone(),
        kind: name.0,
        unit,
    }
}

fn is_allowed(before: &JobRecord, after: &JobRecord) -> bool {
    use JobState::{Assembling, Cancelled, Collecting, Done, Failed, Queued, Running};
    let is_retry = after.round == before.round + 1;
    let is_same_round = after.round == before.round;
    match before.state {
        Assembling => {
            is_same_round
                && matches!(
                    after.state,
                    Assembling | Queued | Collecting | Failed | Cancelled
                )
        }
        Queued => {
            is_same_round
                && matches!(
                    after.state,
                    Queued | Running | Collecting | Failed | Cancelled
                )
        }
        Running => {
            is_same_round && matches!(after.state, Running | Collecting | Failed | Cancelled)
        }
        Collecting => is_same_round && matches!(after.state, Collecting | Done | Failed),
        Failed => is_retry && matches!(after.state, Queued | Assembling | Collecting),
        Done | Cancelled => false,
    }
}

/// The events that a write carries out.
fn events(before: Option<&JobRecord>, after: &JobRecord) -> Vec<&'static str> {
    use JobState::{Assembling, Cancelled, Collecting, Done, Failed, Queued, Running};
    let Some(before) = before else {
        return vec!["accepted"];
    };
    let mut events = Vec::new();
    match (before.state, after.state) {
        (Assembling, Queued) => events.push("assembled"),
        (Queued, Running) => events.push("work started"),
        (_, Done) => events.push("collected"),
        (_, Cancelled) => events.push("cancel"),
        (Failed, _) => events.push("retry"),
        (_, Failed) => events.push("fails"),
        (_, Collecting) | (Queued | Running, _) if before.units != after.units => {
            events.push("units counted");
        }
        _ => {}
    }
    if before.cursor != after.cursor && after.cursor.is_some() {
        events.push("progressed");
    }
    if !before.wishes.urgent && after.wishes.urgent {
        events.push("raise");
    }
    if !before.wishes.stop && after.wishes.stop {
        events.push("stop");
    }
    if before.state != Failed && after.state == Failed && before.units != after.units {
        events.push("units counted");
    }
    events
}

fn short(it: &JobRecord) -> String {
    let bits = |bits: &cellmill_core::bitmap::Bitmap| -> String {
        (0..it.units.count)
            .map(|unit| if bits.contains(unit) { '1' } else { '0' })
            .collect()
    };
    format!(
        "{:?} round {}, done {} failed {}, rev {}{}",
        it.state,
        it.round,
        bits(&it.units.done),
        bits(&it.units.failed),
        it.stamp.rev,
        it.error
            .as_ref()
            .map_or(String::new(), |it| format!(", {it}")),
    )
}
