//! What all machines of one schedule share: time, the plan, the record of what happened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellmill_core::random::SplitMix;
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::api::Api;
use crate::bugs::Bug;
use crate::check::Checker;
use crate::history::{History, What};
use crate::machine::MachineState;
use crate::plan::{Deed, Home, Item, Lane, MACHINES, Moment, Of, Plan};

/// One schedule while it runs.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) bug: Option<Bug>,
    pub(crate) began: Instant,
    state: Mutex<State>,
    /// Something changed that somebody may wait for.
    pub(crate) changed: Notify,
    /// The process that answers people.
    pub(crate) api: Mutex<Option<Api>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machines: Vec<MachineState>,
    pub(crate) history: History,
    pub(crate) check: Checker,
    pub(crate) counts: Counts,
    /// Which items of the plan happened.
    pub(crate) taken: Vec<bool>,
    /// From now on nothing of the plan happens any more.
    pub(crate) is_calm: bool,
    /// Messages sent into each lane.
    sent: [u32; 3],
    /// Of a planted bug: whose writes of which keys will be taken for somebody else's.
    pub(crate) unread: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub store_calls: u32,
    pub queue_calls: u32,
    pub faults: u32,
}

impl World {
    pub(crate) fn new(plan: Plan, bug: Option<Bug>, is_told: bool) -> Arc<Self> {
        let machines = (0..MACHINES)
            .map(|it| MachineState::new(it, plan.seed))
            .collect();
        let mut check = Checker::default();
        check.is_told = is_told;
        let state = State {
            machines,
            history: History::new(is_told),
            check,
            counts: Counts::default(),
            taken: vec![false; plan.items.len()],
            is_calm: false,
            sent: [0; 3],
            unread: Vec::new(),
        };
        Arc::new(Self {
            plan,
            bug,
            began: Instant::now(),
            state: Mutex::new(state),
            changed: Notify::new(),
            api: Mutex::default(),
        })
    }

    /// A panic under this lock ends the schedule anyway.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual time since the schedule began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The true time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        start() + TimeDelta::from_std(self.elapsed()).unwrap_or_default()
    }

    /// What the storage stamps an object with that is written now.
    pub(crate) fn stamp(&self) -> DateTime<Utc> {
        match self.plan.home {
            Home::Bucket => whole_seconds(self.now()),
            Home::Folder => self.now(),
        }
    }

    pub(crate) fn is_bug(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// A number that depends on the seed and on what it is for, and on nothing else that happened.
    pub(crate) fn drawn(&self, parts: &[u64]) -> SplitMix {
        let mut mixed = self.plan.seed;
        for part in parts {
            mixed = SplitMix::new(mixed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_u64();
        }
        SplitMix::new(mixed)
    }

    /// Notes what happened, for whoever reads the history.
    pub(crate) fn tell(&self, who: Option<usize>, what: impl FnOnce() -> What) {
        let at = self.elapsed();
        self.state().history.tell(at, who, what);
    }

    /// The deed that the plan has for this call, which is the n-th of each of `of`.
    pub(crate) fn deed(
        &self,
        machine: usize,
        counted: &[(Of, u32)],
        moment: Moment,
    ) -> Option<Deed> {
        let mut state = self.state();
        if state.is_calm {
            return None;
        }
        let found = self.plan.items.iter().position(|item| match item {
            Item::Call {
                machine: of_machine,
                of,
                nth,
                moment: at,
                ..
            } => *of_machine == machine && *at == moment && counted.contains(&(*of, *nth)),
            _ => false,
        })?;
        if std::mem::replace(&mut state.taken[found], true) {
            return None;
        }
        let Item::Call { deed, .. } = self.plan.items[found] else {
            return None;
        };
        state.counts.faults += 1;
        Some(deed)
    }

    /// A process ended by itself.
    pub(crate) fn ended(&self, machine: usize, has_panicked: bool) {
        self.tell(Some(machine), || What::Note("the process ends".to_owned()));
        if has_panicked {
            let at = self.elapsed();
            let what = crate::machine::NAMES[machine].to_owned();
            self.state().check.broken(at, "no process panics", what);
        }
    }

    /// Marks an item as happened; `false`: it is too late for it.
    pub(crate) fn take(&self, item: usize) -> bool {
        let mut state = self.state();
        if state.is_calm {
            return false;
        }
        state.taken[item] = true;
        true
    }

    /// The item for the next message of a lane.
    pub(crate) fn message_item(&self, lane: Lane) -> Option<Item> {
        let mut state = self.state();
        let number = &mut state.sent[lane as usize];
        *number += 1;
        let number = *number;
        if state.is_calm {
            return None;
        }
        let found = self.plan.items.iter().position(|item| match item {
            Item::Message { of, nth, .. } => *of == lane && *nth == number,
            Item::Silence { of } => *of == lane,
            _ => false,
        })?;
        if !std::mem::replace(&mut state.taken[found], true) {
            state.counts.faults += 1;
        }
        Some(self.plan.items[found].clone())
    }

    /// No more faults: who sleeps wakes up.
    pub(crate) fn calm(&self) {
        let mut state = self.state();
        state.is_calm = true;
        for machine in &mut state.machines {
            machine.frozen_until = None;
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

/// When every schedule begins.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).unwrap_or_default()
}

pub(crate) fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.with_nanosecond(0).unwrap_or(at)
}
