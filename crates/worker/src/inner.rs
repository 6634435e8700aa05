//! What all tasks of one worker share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cellmill_core::keys::{JobKind, UnitKey};
use cellmill_core::messages::UnitClass;
use cellmill_queue::{Queue, QueueName};
use cellmill_service::health::Pulse;
use cellmill_store::Store;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::claim::Lease;
use crate::device::Device;
use crate::tally::Tally;
use crate::{Algorithm, Error, Options, Parts};

/// The parts, the options and the little state of a worker.
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) options: Options,
    pub(crate) algorithms: BTreeMap<JobKind, Arc<dyn Algorithm>>,
    /// The queues of its classes, all urgent ones first.
    pub(crate) queues: Vec<QueueName>,
    /// How many of them are urgent.
    n_urgent: usize,
    /// Units that are being worked on, for people.
    current: Mutex<BTreeSet<UnitKey>>,
    /// How many of them there are.
    pub(crate) held: watch::Sender<usize>,
    /// The last time that store or queue answered.
    pub(crate) pulse: Pulse,
    pub(crate) tally: Tally,
    pub(crate) device: Device,
    /// When an idle slot looks for forgotten units next.
    sweep_due: Mutex<Instant>,
    /// Urgent units that are claimed already, for the slots whose unit goes back for them.
    urgent: Mutex<Vec<Lease>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(
        parts: Parts,
        algorithms: Vec<Arc<dyn Algorithm>>,
        options: Options,
    ) -> Result<Self, Error> {
        if options.classes.is_empty() {
            return Err(Error::Options {
                rule: "at least one class of units",
            });
        }
        if options.concurrency == 0 {
            return Err(Error::Options {
                rule: "a concurrency of at least 1",
            });
        }
        let classes = options.classes.iter();
        let names = classes
            .clone()
            .map(UnitClass::urgent_queue)
            .chain(classes.map(UnitClass::queue));
        let queues = names
            .map(|it| QueueName::parse(&it))
            .collect::<Result<_, _>>();
        Ok(Self {
            store: parts.store,
            queue: parts.queue,
            queues: queues.map_err(Error::queue("name its queues"))?,
            n_urgent: options.classes.len(),
            algorithms: by_kind(algorithms, &options.kinds)?,
            options,
            current: Mutex::default(),
            held: watch::Sender::new(0),
            pulse: Pulse::default(),
            tally: Tally::default(),
            sweep_due: Mutex::new(Instant::now()),
            urgent: Mutex::default(),
            device: Device::default(),
        })
    }

    /// The queues that go before all others.
    pub(crate) fn urgent_queues(&self) -> &[QueueName] {
        &self.queues[..self.n_urgent]
    }

    /// Shows the unit as being worked on as long as the answer lives.
    pub(crate) fn working_on(&self, unit: &UnitKey) -> WorkingOn<'_> {
        let n_held = {
            let mut units = self.units();
            units.insert(unit.clone());
            units.len()
        };
        self.held.send_replace(n_held);
        self.tally.begun(unit);
        WorkingOn {
            worker: self,
            unit: unit.clone(),
        }
    }

    /// One of the units that are being worked on.
    pub(crate) fn a_current_unit(&self) -> Option<UnitKey> {
        self.units().first().cloned()
    }

    fn units(&self) -> std::sync::MutexGuard<'_, BTreeSet<UnitKey>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long an idle slot may wait for hints before a sweep is due.
    pub(crate) fn time_to_sweep(&self) -> Duration {
        self.due().saturating_duration_since(Instant::now())
    }

    /// Makes the next sweep due after `delay`.
    pub(crate) fn sweep_after(&self, delay: Duration) {
        *self.due() = Instant::now() + delay;
    }

    /// Is a sweep due? Then the caller does it, and no other slot.
    pub(crate) fn take_sweep(&self) -> bool {
        let mut due = self.due();
        let now = Instant::now();
        let is_due = *due <= now;
        if is_due {
            *due = now + self.options.timing.idle_sweep();
        }
        is_due
    }

    /// An urgent unit that some slot gave its own up for.
    pub(crate) fn pop_urgent(&self) -> Option<Lease> {
        self.urgent_leases().pop()
    }

    pub(crate) fn push_urgent(&self, lease: Lease) {
        self.urgent_leases().push(lease);
    }

    fn urgent_leases(&self) -> std::sync::MutexGuard<'_, Vec<Lease>> {
        self.urgent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.sweep_due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Inner::working_on`].
pub(crate) struct WorkingOn<'a> {
    worker: &'a Inner,
    unit: UnitKey,
}

impl Drop for WorkingOn<'_> {
    fn drop(&mut self) {
        let n_held = {
            let mut units = self.worker.units();
            units.remove(&self.unit);
            units.len()
        };
        self.worker.held.send_replace(n_held);
        self.worker.tally.over(&self.unit);
    }
}

/// The algorithm of each kind: of all that there are, or of those asked for.
fn by_kind(
    algorithms: Vec<Arc<dyn Algorithm>>,
    asked: &[JobKind],
) -> Result<BTreeMap<JobKind, Arc<dyn Algorithm>>, Error> {
    let mut found: BTreeMap<JobKind, Arc<dyn Algorithm>> = BTreeMap::new();
    for algorithm in algorithms {
        for &kind in algorithm.kinds() {
            if found.insert(kind, Arc::clone(&algorithm)).is_some() {
                return Err(Error::TwoAlgorithms { kind });
            }
        }
    }
    if let Some(&kind) = asked.iter().find(|it| !found.contains_key(it)) {
        return Err(Error::NoAlgorithm { kind });
    }
    found.retain(|kind, _| asked.is_empty() || asked.contains(kind));
    if found.is_empty() {
        return Err(Error::Options {
            rule: "at least one algorithm",
        });
    }
    Ok(found)
}
