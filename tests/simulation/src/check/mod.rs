//! The invariants of jobs (DESIGN 12), checked on every write as it happens, every acknowledgement and every
//! deleted message.

mod end;
mod job;
mod messages;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cellmill_core::checkpoint;
use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey, ProjectFile, UnitKey};
use cellmill_core::unit::{UnitRecord, UnitState};
use cellmill_store::fault::Operation;
use cellmill_store::gate::Call;

use crate::coverage::Table;
use crate::machine::{MachineState, Process};
use crate::plan::{API, ASSEMBLERS, COLLECTORS, WORKERS};

pub(crate) use end::at_rest;

pub(crate) type JobName = (JobKind, Dir);

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at: Duration,
    /// The rule that was broken, the same text whatever broke it.
    pub rule: &'static str,
    pub what: String,
}

/// What the checker knows: the true state of everything, whoever was told of it.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    pub(crate) violations: Vec<Violation>,
    pub(crate) jobs: BTreeMap<JobName, JobSeen>,
    pub(crate) units: BTreeMap<UnitKey, UnitSeen>,
    /// The bytes of result files.
    results: BTreeMap<String, Bytes>,
    /// Keys of the checkpoints that are there.
    checkpoints: BTreeSet<String>,
    pub(crate) job_table: Table,
    pub(crate) unit_table: Table,
    /// Units that processes held when they began to stand still.
    asleep: Vec<(usize, u32, UnitKey)>,
    handed: messages::HandedOut,
    /// Does somebody read the lines of what changed?
    pub(crate) is_told: bool,
}

/// A job as it truly is.
#[derive(Debug, Default)]
pub(crate) struct JobSeen {
    pub(crate) record: Option<JobRecord>,
    /// When it was last in another state than now, and since when it is in this one.
    since: Duration,
    /// Since when it is in its round.
    round_since: Duration,
    /// When a person was told that it is cancelled.
    pub(crate) cancel_acknowledged: Option<Duration>,
    pub(crate) is_accepted: bool,
    /// Its marks in `active/`, by round.
    marks: BTreeMap<u32, Duration>,
    /// When each bit came, in this round.
    counted: BTreeMap<u32, Duration>,
}

/// A unit as it truly is.
#[derive(Debug, Default)]
pub(crate) struct UnitSeen {
    pub(crate) record: Option<UnitRecord>,
    written: Duration,
    /// Until when nothing had to be done for it: it was held, or it had ended. The present, while it is so.
    settled_until: Duration,
    /// Since when it has been ended without a break.
    ended_since: Duration,
    /// Heartbeats of this attempt since its job ended.
    beats_after_end: u32,
}

/// The job whose record lies under this key.
pub(crate) fn job_of(key: &ObjectKey) -> Option<JobName> {
    match key {
        ObjectKey::Dataset(dir, DatasetFile::Job) => Some((JobKind::Data, dir.clone())),
        ObjectKey::Project(dir, ProjectFile::Job(kind)) => Some((*kind, dir.clone())),
        _ => None,
    }
}

/// Whose result a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResultOf {
    /// Of the job of this directory.
    Dir(Dir),
    /// Of the training: its model lies among all others.
    Training,
}

/// Whose result file lies under this key; `None`: it is none.
fn result_of(key: &ObjectKey) -> Option<ResultOf> {
    match key {
        ObjectKey::Dataset(
            dir,
            DatasetFile::CellsList { .. }
            | DatasetFile::Info2
            | DatasetFile::Packs
            | DatasetFile::Log,
        )
        | ObjectKey::Project(
            dir,
            ProjectFile::Predict2 { .. }
            | ProjectFile::Labels(_)
            | ProjectFile::Model
            | ProjectFile::Log,
        ) => Some(ResultOf::Dir(dir.clone())),
        ObjectKey::Model(_) | ObjectKey::ModelCard(_) => Some(ResultOf::Training),
        _ => None,
    }
}

pub(crate) fn state_text(state: Option<JobState>) -> &'static str {
    state.map_or("absent", JobState::as_str)
}

impl JobSeen {
    pub(crate) fn state(&self) -> Option<JobState> {
        self.record.as_ref().map(|it| it.state)
    }

    /// Is there a mark of this round or an earlier one? That of a later one is left by a retry that went no further.
    pub(crate) fn has_marks(&self) -> bool {
        let round = self.record.as_ref().map_or(0, |it| it.round);
        self.marks.range(..=round).next().is_some()
    }
}

impl UnitSeen {
    /// The state for the table; a lease is silent when nothing was written for longer than it lasts.
    fn state_text(&self, at: Duration) -> &'static str {
        match self.record.as_ref().map(|it| it.state) {
            None => "absent",
            Some(UnitState::Waiting) => "waiting",
            Some(UnitState::Leased) if at.saturating_sub(self.written) > LEASE => "silent",
            Some(UnitState::Leased) => "leased",
            Some(UnitState::Done) => "done",
            Some(UnitState::Failed) => "failed",
            Some(UnitState::Cancelled) => "cancelled",
        }
    }
}

/// The lease that schedules run with: the default.
pub(crate) const LEASE: Duration = Duration::from_secs(50);

impl Checker {
    pub(crate) fn broken(&mut self, at: Duration, rule: &'static str, what: String) {
        self.violations.push(Violation { at, rule, what });
    }

    pub(crate) fn job(&mut self, name: &JobName) -> &mut JobSeen {
        if !self.jobs.contains_key(name) {
            self.jobs.insert(name.clone(), JobSeen::default());
        }
        self.jobs.get_mut(name).expect("put in just now")
    }

    pub(crate) fn unit(&mut self, key: &UnitKey) -> &mut UnitSeen {
        if !self.units.contains_key(key) {
            self.units.insert(key.clone(), UnitSeen::default());
        }
        self.units.get_mut(key).expect("put in just now")
    }

    /// A call came to the store; `is_done`: it did what it asks for. Says in a line what changed.
    pub(crate) fn store_call(
        &mut self,
        by: &Process,
        machines: &[MachineState],
        at: Duration,
        call: &Call,
        is_done: bool,
    ) -> Option<String> {
        match call.operation {
            Operation::Get | Operation::List => return None,
            _ => {}
        }
        let Ok(Some(key)) = ObjectKey::parse(&call.key) else {
            return None;
        };
        if !is_done {
            self.refused(at, call, &key);
            return None;
        }
        match (&call.body, &key) {
            (Some(body), ObjectKey::Unit(key)) => self.unit_written(by, machines, at, key, body),
            (Some(body), key) if job_of(key).is_some() => {
                let name = job_of(key).expect("asked just now");
                self.job_written(by, at, &name, body)
            }
            (Some(body), key) if result_of(key).is_some() => {
                let of = result_of(key).expect("asked just now");
                let is_it = |name: &&JobName| match &of {
                    ResultOf::Dir(dir) => name.1 == *dir,
                    ResultOf::Training => name.0 == JobKind::Train,
                };
                if let Some(name) = self.jobs.keys().find(is_it).cloned() {
                    self.result_written(at, &name, &call.key, body);
                }
                None
            }
            (_, ObjectKey::Active { kind, dir, round }) => {
                let name = (*kind, dir.clone());
                self.mark_changed(at, &name, *round, call.body.is_some());
                None
            }
            (Some(_), ObjectKey::UnitOutput { unit, .. }) if checkpoint::is_of(unit, &call.key) => {
                self.checkpoints.insert(call.key.clone());
                None
            }
            (None, ObjectKey::UnitOutput { unit, .. }) if checkpoint::is_of(unit, &call.key) => {
                self.checkpoint_deleted(at, unit, &call.key);
                None
            }
            (None, ObjectKey::UnitOutput { unit, attempt, .. }) => {
                self.output_deleted(at, unit, *attempt);
                None
            }
            _ => None,
        }
    }

    fn refused(&mut self, at: Duration, call: &Call, key: &ObjectKey) {
        if call.operation != Operation::Update {
            return;
        }
        if let ObjectKey::Unit(key) = key {
            let state = self.unit(key).state_text(at);
            self.unit_table.met("write refused", state);
        } else if let Some(name) = job_of(key) {
            let state = state_text(self.job(&name).state());
            self.job_table.met("swap refused", state);
        }
    }

    /// A process stands still from now on.
    pub(crate) fn froze(&mut self, machine: usize, incarnation: u32, at: Duration) {
        for key in self.held_by(machine, incarnation) {
            let state = self.unit(&key).state_text(at);
            self.unit_table.met("owner stands still", state);
            self.asleep.push((machine, incarnation, key));
        }
    }

    pub(crate) fn woke(&mut self, machine: usize, at: Duration) {
        let (mine, others) = std::mem::take(&mut self.asleep)
            .into_iter()
            .partition(|it| it.0 == machine);
        self.asleep = others;
        for (_, incarnation, key) in mine {
            let state = self.unit(&key).state_text(at);
            let is_mine = self.held_by(machine, incarnation).contains(&key);
            if !is_mine || state == "silent" {
                self.unit_table.met("late owner wakes", state);
            }
        }
    }

    pub(crate) fn crashed(&mut self, machine: usize, incarnation: u32, at: Duration) {
        for key in self.held_by(machine, incarnation) {
            let state = self.unit(&key).state_text(at);
            self.unit_table.met("owner killed", state);
        }
        let event = match machine {
            it if it < WORKERS => "worker killed",
            it if ASSEMBLERS.contains(&it) => "assembler killed",
            it if COLLECTORS.contains(&it) => "collector killed",
            API => "api killed",
            _ => "janitor killed",
        };
        for job in self.jobs.values() {
            if job.record.is_some() {
                self.job_table.met(event, state_text(job.state()));
            }
        }
    }

    /// Has every accepted job ended, and is every mark gone?
    pub(crate) fn all_ended(&self) -> bool {
        let has_ended = |it: &JobSeen| it.state().is_some_and(JobState::is_ended);
        let mut jobs = self.jobs.values().filter(|it| it.is_accepted);
        jobs.all(|it| has_ended(it) && !it.has_marks())
    }

    fn held_by(&self, machine: usize, incarnation: u32) -> Vec<UnitKey> {
        let is_held = |it: &UnitSeen| {
            it.record.as_ref().is_some_and(|it| {
                it.state == UnitState::Leased
                    && it.owner.as_ref().and_then(Process::of_worker)
                        == Some((machine, incarnation))
            })
        };
        let held = self.units.iter().filter(|(_, it)| is_held(it));
        held.map(|(key, _)| key.clone()).collect()
    }
}
