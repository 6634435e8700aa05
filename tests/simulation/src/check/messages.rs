//! Deleted messages: what each asks for must be durable by then (DESIGN 4, invariant 5).

use std::collections::BTreeMap;
use std::time::Duration;

use cellmill_core::job::JobState;
use cellmill_core::messages::{CollectHint, JobHint, UnitHint};
use cellmill_core::unit::UnitState;
use cellmill_queue::Receipt;

use super::job::unit_key;
use super::{Checker, JobName, state_text};
use crate::machine::Process;
use crate::plan::Lane;

/// The messages that processes have in their hands.
#[derive(Debug, Default)]
pub(crate) struct HandedOut {
    messages: BTreeMap<(Lane2, String), Handed>,
    /// Bodies that were put aside with a reason, by whom.
    buried: Vec<(usize, String)>,
    /// Jobs that were sent to be assembled again, by whom and when.
    sent: Vec<(usize, JobName, Duration)>,
}

/// [`Lane`] as a number, which has an order.
type Lane2 = u8;

/// A message that was received.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) body: String,
    pub(crate) at: Duration,
}

const RULE: &str = "a message is deleted when what it asks for is durable";

impl Checker {
    pub(crate) fn received(&mut self, lane: Lane, receipt: &Receipt, body: &str, at: Duration) {
        let key = (lane as Lane2, receipt.as_str().to_owned());
        let body = body.to_owned();
        self.meet(lane, &body, at);
        self.handed.messages.insert(key, Handed { body, at });
    }

    fn meet(&mut self, lane: Lane, body: &str, at: Duration) {
        match lane {
            Lane::Units => {
                let Some(hint) = read::<UnitHint>(body) else {
                    return;
                };
                let name = (hint.kind, hint.dir);
                let state = state_text(self.job(&name).state());
                self.job_table.met("hint of a unit", state);
                let state = self.unit(&unit_key(&name, hint.unit)).state_text(at);
                self.unit_table.met("hint", state);
            }
            Lane::Assemble => {
                let Some(hint) = read::<JobHint>(body) else {
                    return;
                };
                let state = state_text(self.job(&(hint.kind, hint.dir)).state());
                self.job_table.met("message to assemble", state);
            }
            Lane::Collect => {
                let Some(hint) = read::<CollectHint>(body) else {
                    return;
                };
                let name = (hint.kind, hint.dir);
                let state = state_text(self.job(&name).state());
                match hint.unit {
                    Some(unit) => {
                        self.job_table.met("message to collect a unit", state);
                        let state = self.unit(&unit_key(&name, unit)).state_text(at);
                        self.unit_table.met("message to collect", state);
                    }
                    None => self.job_table.met("message to collect all", state),
                }
            }
        }
    }

    pub(crate) fn buried(&mut self, by: &Process, letter: &str) {
        let inside = read::<serde_json::Value>(letter);
        if let Some(body) = inside.and_then(|it| Some(it.get("body")?.as_str()?.to_owned())) {
            self.handed.buried.push((by.machine, body));
        }
    }

    pub(crate) fn sent(&mut self, by: &Process, lane: Lane, body: &str, at: Duration) {
        if lane == Lane::Assemble
            && let Some(hint) = read::<JobHint>(body)
        {
            let name = (hint.kind, hint.dir);
            self.handed.sent.push((by.machine, name, at));
        }
    }

    /// A message was deleted for good.
    pub(crate) fn deleted(&mut self, by: &Process, lane: Lane, receipt: &Receipt, at: Duration) {
        let key = (lane as Lane2, receipt.as_str().to_owned());
        let Some(handed) = self.handed.messages.remove(&key) else {
            return;
        };
        let is_buried = |it: &(usize, String)| it.0 == by.machine && it.1 == handed.body;
        if self.handed.buried.iter().any(is_buried) {
            return;
        }
        let why = match lane {
            Lane::Units => self.why_unit_waits(&handed),
            Lane::Assemble => self.why_job_waits(by, &handed),
            Lane::Collect => self.why_count_waits(&handed),
        };
        if let Some(why) = why {
            let what = format!("{} by {by:?}: {why}", handed.body);
            self.broken(at, RULE, what);
        }
    }

    /// Was the unit free for all the time in which the hint was held?
    fn why_unit_waits(&mut self, handed: &Handed) -> Option<String> {
        let hint = read::<UnitHint>(&handed.body)?;
        let name = (hint.kind, hint.dir.clone());
        let job = self.job(&name);
        let record = job.record.as_ref()?;
        let is_open = matches!(record.state, JobState::Queued | JobState::Running);
        if !is_open || job.since > handed.at || hint.unit >= record.units.count {
            // A change from queued to running is none that settles anything, but then somebody claimed.
            return (record.state == JobState::Assembling && job.since <= handed.at)
                .then(|| "the job is being assembled".to_owned());
        }
        let (round, round_since) = (record.round, job.round_since);
        let unit = self.unit(&unit_key(&name, hint.unit));
        let Some(record) = &unit.record else {
            return Some("nobody claimed the unit".to_owned());
        };
        let is_settled = match record.state {
            UnitState::Leased | UnitState::Done => true,
            UnitState::Failed | UnitState::Cancelled => {
                record.round >= round || round_since > handed.at
            }
            UnitState::Waiting => unit.settled_until >= handed.at,
        };
        (!is_settled).then(|| "the unit waits".to_owned())
    }

    fn why_job_waits(&mut self, by: &Process, handed: &Handed) -> Option<String> {
        let hint = read::<JobHint>(&handed.body)?;
        let name = (hint.kind, hint.dir.clone());
        let job = self.job(&name);
        let record = job.record.as_ref()?;
        if record.state != JobState::Assembling || job.since > handed.at {
            return None;
        }
        let dataset = record.parameters.dataset().cloned();
        if let Some(dir) = dataset {
            let data = self.job(&(cellmill_core::keys::JobKind::Data, dir));
            let is_waiting = data.state().is_none_or(|it| !it.is_ended());
            if is_waiting || data.since > handed.at {
                return None;
            }
        }
        let is_sent = |it: &(usize, JobName, Duration)| {
            it.0 == by.machine && it.1 == name && it.2 >= handed.at
        };
        let is_sent = self.handed.sent.iter().any(is_sent);
        (!is_sent).then(|| "the job is still to be assembled".to_owned())
    }

    fn why_count_waits(&mut self, handed: &Handed) -> Option<String> {
        let hint = read::<CollectHint>(&handed.body)?;
        let name = (hint.kind, hint.dir.clone());
        let job = self.job(&name);
        let record = job.record.as_ref()?;
        if job.since > handed.at && record.state != JobState::Running {
            return None;
        }
        match record.state {
            JobState::Collecting => return Some("the result is not written".to_owned()),
            JobState::Queued | JobState::Running => {}
            _ => return None,
        }
        let (units, round, round_since) = (record.units.clone(), record.round, job.round_since);
        if round_since > handed.at {
            return None;
        }
        let asked = match hint.unit {
            Some(unit) => unit..unit + 1,
            None => 0..units.count,
        };
        for unit in asked {
            let seen = self.unit(&unit_key(&name, unit));
            let has_ended = seen.record.as_ref().is_some_and(|it| {
                it.state == UnitState::Done || (it.state == UnitState::Failed && it.round >= round)
            });
            if has_ended && seen.ended_since < handed.at && !units.is_ended(unit) {
                return Some(format!("unit {unit} is not counted"));
            }
        }
        None
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &str) -> Option<T> {
    serde_json::from_str(body).ok()
}
