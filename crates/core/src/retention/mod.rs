//! What may be removed, and when: the rules of the janitor's daily sweep (DESIGN 3, 5.8).
//!
//! Each rule answers with its reason, for the person who reads a dry run. Each only ever allows what nobody can need
//! again: what it allowed once stays allowed, so it does not matter how much later it is carried out.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::job::{JobRecord, JobState};
use crate::timing::Timing;
use crate::unit::{UnitRecord, UnitState};

/// What nobody names stays for a day all the same: whoever is about to name it has done so by then.
pub const ORPHAN_AGE: TimeDelta = TimeDelta::hours(24);

/// The log that a worker leaves under its attempt. Of a unit that failed it says why.
pub const UNIT_LOG: &str = "log.txt";

/// Is what the job's units left beside its result to be removed? `written`: the time of the record's last write.
///
/// All that a result needs was copied when it was collected, and a job without a result has none to need it. Only a
/// retry would: so the record says first that it is [`cleared`](JobRecord::cleared), which a retry respects.
pub fn why_clear(
    job: &JobRecord,
    written: DateTime<Utc>,
    kept: Duration,
    now: DateTime<Utc>,
) -> Option<String> {
    if !job.state.is_ended() {
        return None;
    }
    if let Some(at) = job.cleared {
        return Some(format!("its job is cleared since {}", at.format("%F")));
    }
    let ended = job.times.ended.unwrap_or(written);
    let age = (now - ended).to_std().unwrap_or_default();
    (age > kept).then(|| format!("its job ended {} days ago", age.as_secs() / 86_400))
}

/// Is an output to be removed that lies under `attempt` of a unit? `named`: what [`keys_named_by`] found in the record,
/// which was read after the output was listed.
///
/// An attempt below the record's is fenced: nothing of it is ever named any more that is not named by now. The attempt
/// of a unit that failed or was cancelled is over too, as a retry begins the next one.
pub fn why_orphan(
    unit: &UnitRecord,
    named: &BTreeSet<String>,
    attempt: u32,
    key: &str,
    written: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<String> {
    if now - written <= ORPHAN_AGE || named.contains(key) || attempt > unit.attempt {
        return None;
    }
    if attempt < unit.attempt {
        return Some(format!(
            "attempt {attempt} was superseded by attempt {}",
            unit.attempt
        ));
    }
    if key.ends_with(&format!("/{UNIT_LOG}")) {
        return None;
    }
    match unit.state {
        UnitState::Failed => Some("its unit failed".to_owned()),
        UnitState::Cancelled => Some("its unit was cancelled".to_owned()),
        UnitState::Waiting | UnitState::Leased | UnitState::Done => None,
    }
}

/// Every text of a unit's record, keys among them: outputs, checkpoints, and whatever later versions name.
pub fn keys_named_by(unit: &UnitRecord) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let document = serde_json::to_value(unit).expect("a record holds nothing that JSON can't");
    gather_texts(document, &mut named);
    named
}

fn gather_texts(value: Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            into.insert(text);
        }
        Value::Array(items) => items.into_iter().for_each(|it| gather_texts(it, into)),
        Value::Object(fields) => fields.into_values().for_each(|it| gather_texts(it, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Is a pack to be removed that lies beside those of a data set that is done? `listed`: is it in `packs.json`?
///
/// Only of a data set that is done: a pack is named by its content, so a retry of a failed one may come to the very
/// same pack, find it there and name it. The packs of jobs without a result go when they are cleared.
pub fn why_stray_pack(
    job: &JobRecord,
    is_listed: bool,
    written: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<String> {
    let is_stray = job.state == JobState::Done && !is_listed && now - written > ORPHAN_AGE;
    is_stray.then(|| "no committed unit left it".to_owned())
}

/// Is the record of a worker to be removed that was killed before it could remove it?
pub fn why_gone(written: DateTime<Utc>, timing: Timing, now: DateTime<Utc>) -> Option<String> {
    let is_old = now - written > ORPHAN_AGE && timing.is_gone(written, now);
    is_old.then(|| format!("its worker is silent since {}", written.format("%F %H:%M")))
}

impl JobRecord {
    /// The record that says that what its units left is removed from now on. `None`: [`why_clear`] does not allow it, or
    /// it says so already. `unit_error`: why its first failed unit failed, which only that unit's record says so far.
    pub fn clear(
        &self,
        written: DateTime<Utc>,
        kept: Duration,
        now: DateTime<Utc>,
        unit_error: Option<&str>,
    ) -> Option<Self> {
        if self.cleared.is_some() {
            return None;
        }
        let why = why_clear(self, written, kept, now)?;
        let mut next = self.clone();
        next.cleared = Some(now);
        next.note(
            now,
            format!("records and logs of its units are removed: {why}"),
        );
        if let (Some(error), Some(why)) = (&mut next.error, unit_error) {
            *error = format!("{error}: {why}");
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests;
