//! Bugs planted on purpose, at the gate, so that the checker can show that it bites. None of them is in the programs.

use bytes::Bytes;
use cellmill_core::keys::{DatasetFile, ObjectKey};
use cellmill_store::fault::{Kind, Operation};
use cellmill_store::gate::{Call, Way};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::check::job_of;
use crate::machine::Process;
use crate::plan::{API, COLLECTORS};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bug {
    NoFencing,
    CommitWithoutSwap,
    RefusalTakenForLoss,
    HintDeletedBeforeClaim,
    HeartbeatIgnoresCancel,
    LeaseByOwnClock,
    JanitorDeletesOutput,
    PercentReset,
    CollectAfterCancel,
    HandBackCountedAsFailure,
    OldFailureCounted,
    CancelToldBeforeWritten,
    MarkRemovedEarly,
    ResultHoldsTime,
    MessageDeletedAfterFailure,
    RetryRestartsAttempts,
    QueueIsTheTruth,
    FailedCountedAsDone,
    PreemptionCountedAsFailure,
    NamedCheckpointDeleted,
    StepLostOnResume,
    StopForgotten,
}

impl Bug {
    pub const ALL: [Self; 22] = [
        Self::NoFencing,
        Self::CommitWithoutSwap,
        Self::RefusalTakenForLoss,
        Self::HintDeletedBeforeClaim,
        Self::HeartbeatIgnoresCancel,
        Self::LeaseByOwnClock,
        Self::JanitorDeletesOutput,
        Self::PercentReset,
        Self::CollectAfterCancel,
        Self::HandBackCountedAsFailure,
        Self::OldFailureCounted,
        Self::CancelToldBeforeWritten,
        Self::MarkRemovedEarly,
        Self::ResultHoldsTime,
        Self::MessageDeletedAfterFailure,
        Self::RetryRestartsAttempts,
        Self::QueueIsTheTruth,
        Self::FailedCountedAsDone,
        Self::PreemptionCountedAsFailure,
        Self::NamedCheckpointDeleted,
        Self::StepLostOnResume,
        Self::StopForgotten,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoFencing => "no fencing: a late worker's write replaces what is there",
            Self::CommitWithoutSwap => "commit without swap",
            Self::RefusalTakenForLoss => "412 taken for a loss",
            Self::HintDeletedBeforeClaim => "hint deleted before the claim",
            Self::HeartbeatIgnoresCancel => "heartbeat ignores the job",
            Self::LeaseByOwnClock => "lease by the worker's own clock",
            Self::JanitorDeletesOutput => "janitor deletes live output",
            Self::PercentReset => "percent goes back",
            Self::CollectAfterCancel => "collect commits after a cancel",
            Self::HandBackCountedAsFailure => "a unit handed back counts as failed",
            Self::OldFailureCounted => "failures of an earlier round are counted",
            Self::CancelToldBeforeWritten => "cancel acknowledged and not written",
            Self::MarkRemovedEarly => "mark removed before its round has ended",
            Self::ResultHoldsTime => "result files hold a time",
            Self::MessageDeletedAfterFailure => "message deleted after a failure",
            Self::RetryRestartsAttempts => "a retry counts attempts from 1 again",
            Self::QueueIsTheTruth => "nothing is done about lost messages",
            Self::FailedCountedAsDone => "a failed unit counts as done",
            Self::PreemptionCountedAsFailure => "a training that gives way counts as failed",
            Self::NamedCheckpointDeleted => "checkpoints are deleted before the record says so",
            Self::StepLostOnResume => "a resumed training leaves a step out",
            Self::StopForgotten => "a later write of the job forgets the stop",
        }
    }
}

/// The time that a worker goes by that trusts its own clock.
pub(crate) fn own_clock(process: &Process) -> Option<DateTime<Utc>> {
    (process.world.is_bug(Bug::LeaseByOwnClock) && process.is_worker())
        .then(|| process.wall_clock())
}

/// A call comes to the store.
pub(crate) fn on_the_way_in(process: &Process, call: &mut Call) -> Way {
    let Some(bug) = process.world.bug else {
        return Way::In;
    };
    let Ok(Some(key)) = ObjectKey::parse(&call.key) else {
        return Way::In;
    };
    let (is_unit, is_job) = (matches!(key, ObjectKey::Unit(_)), job_of(&key).is_some());
    let is_update = call.operation == Operation::Update;
    let is_collector = COLLECTORS.contains(&process.machine);
    match bug {
        Bug::NoFencing if is_unit && is_update => call.operation = Operation::Overwrite,
        Bug::CommitWithoutSwap if is_unit && is_update && says(call, "state", "done") => {
            call.operation = Operation::Overwrite;
        }
        Bug::RefusalTakenForLoss if call.body.is_some() => {
            let mut state = process.world.state();
            let mine = |it: &(usize, String)| it.0 == process.machine && it.1 == call.key;
            state.unread.retain(|it| !mine(it));
        }
        Bug::HeartbeatIgnoresCancel
            if is_job && call.unless.as_ref().is_some_and(|it| !it.is_empty()) =>
        {
            return Way::Back(Kind::NotModified);
        }
        Bug::PercentReset if is_unit && says(call, "state", "leased") => {
            change(&mut call.body, |it| {
                if it["rev"].as_u64().is_some_and(|it| it % 2 == 0) {
                    it["percent"] = json!(0);
                }
            });
        }
        Bug::CollectAfterCancel
            if is_collector
                && is_job
                && is_update
                && (says(call, "state", "collecting") || says(call, "state", "done")) =>
        {
            call.operation = Operation::Overwrite;
        }
        Bug::HandBackCountedAsFailure if is_unit => change(&mut call.body, |it| {
            if last_attempt(it).is_some_and(|it| it["how"] == "handed back") {
                it["failures"] = json!(it["failures"].as_u64().unwrap_or_default() + 1);
            }
        }),
        Bug::PreemptionCountedAsFailure if is_unit => change(&mut call.body, |it| {
            if last_attempt(it).is_some_and(|it| it["how"] == "preempted by urgent work") {
                it["failures"] = json!(it["failures"].as_u64().unwrap_or_default() + 1);
            }
        }),
        // The record goes on naming what is cleared away.
        Bug::NamedCheckpointDeleted if is_unit && says(call, "state", "leased") => {
            let known = process.world.state().check.named_checkpoints(&key);
            change(&mut call.body, |it| {
                let named = it["checkpoints"].as_array().map_or(0, Vec::len);
                if named > 0 && known.len() >= named {
                    it["checkpoints"] = json!(known);
                }
            });
        }
        Bug::StopForgotten if is_collector && is_job => change(&mut call.body, |it| {
            it["wishes"]["stop"] = json!(false);
        }),
        Bug::CancelToldBeforeWritten
            if process.machine == API && is_job && says(call, "state", "cancelled") =>
        {
            return Way::Away;
        }
        Bug::ResultHoldsTime if matches!(key, ObjectKey::Dataset(_, DatasetFile::Packs)) => {
            let now = process.world.now().to_rfc3339();
            change(&mut call.body, |it| it["at"] = json!(now));
        }
        Bug::RetryRestartsAttempts if is_unit => change(&mut call.body, |it| {
            if it["round"] != 0 {
                it["attempt"] = json!(1);
            }
        }),
        _ => {}
    }
    Way::In
}

/// An answer goes back.
pub(crate) fn on_the_way_out(process: &Process, call: &Call, body: &mut Option<Bytes>) {
    let Some(bug) = process.world.bug else {
        return;
    };
    let Ok(Some(key)) = ObjectKey::parse(&call.key) else {
        return;
    };
    let is_unit = matches!(key, ObjectKey::Unit(_));
    let is_collector = COLLECTORS.contains(&process.machine);
    match bug {
        Bug::RefusalTakenForLoss => {
            let unread = (process.machine, call.key.clone());
            if body.is_some() && process.world.state().unread.contains(&unread) {
                change(body, |it| it["write"] = json!("somebody"));
            }
        }
        Bug::OldFailureCounted if is_unit && is_collector => change(body, |it| {
            if it["state"] == "failed" {
                it["round"] = json!(99);
            }
        }),
        Bug::FailedCountedAsDone if is_unit && is_collector => change(body, |it| {
            if it["state"] == "failed" {
                it["state"] = json!("done");
            }
        }),
        _ => {}
    }
}

/// The caller is told 412 though its write was done.
pub(crate) fn on_lost_answer(process: &Process, call: &Call, kind: Kind) {
    if process.world.is_bug(Bug::RefusalTakenForLoss) && kind == Kind::Precondition {
        let unread = (process.machine, call.key.clone());
        process.world.state().unread.push(unread);
    }
}

fn says(call: &Call, field: &str, value: &str) -> bool {
    let read = call
        .body
        .as_ref()
        .and_then(|it| serde_json::from_slice::<Value>(it).ok());
    read.is_some_and(|it| it[field] == value)
}

fn last_attempt(unit: &Value) -> Option<&Value> {
    unit["attempts"].as_array()?.last()
}

fn change(body: &mut Option<Bytes>, change: impl FnOnce(&mut Value)) {
    let Some(bytes) = body else {
        return;
    };
    if let Ok(mut value) = serde_json::from_slice::<Value>(bytes) {
        change(&mut value);
        *bytes = serde_json::to_vec(&value).unwrap_or_default().into();
    }
}
