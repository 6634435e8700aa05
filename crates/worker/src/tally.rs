//! What a worker counts of itself, and how it tells that to a collector of figures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellmill_core::keys::{JobKind, UnitKey};
use cellmill_core::machine::Machine;
use cellmill_core::messages::UnitClass;
use cellmill_core::unit::{UnitRecord, UnitState};
use cellmill_service::metrics::{Kind, Page, machine, store_calls};
use tokio::time::Instant;

use crate::inner::Inner;

/// How long one look at the machine is told again: a share of time over less than this says little.
const LOOK: Duration = Duration::from_secs(5);

/// How the work on a unit ended, as far as this worker wrote it.
const LOST: &str = "lost";

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    machine: Mutex<Option<(Instant, Machine)>>,
}

#[derive(Debug, Default)]
struct Counts {
    current: BTreeMap<UnitKey, Current>,
    ended: BTreeMap<(JobKind, &'static str), u64>,
    /// At work on units that ended.
    busy: Duration,
}

#[derive(Debug)]
struct Current {
    began: Instant,
    end: &'static str,
}

impl Tally {
    pub(crate) fn begun(&self, unit: &UnitKey) {
        let current = Current {
            began: Instant::now(),
            // Until it is written how it ended, nothing of this attempt counts.
            end: LOST,
        };
        self.counts().current.insert(unit.clone(), current);
    }

    /// The end of the unit was written, as the record says.
    pub(crate) fn written(&self, unit: &UnitRecord) {
        let end = match unit.state {
            UnitState::Done => "done",
            UnitState::Failed => "failed",
            UnitState::Waiting if unit.error.is_some() => "error",
            UnitState::Waiting => "handed_back",
            UnitState::Cancelled => "cancelled",
            UnitState::Leased => return,
        };
        if let Some(current) = self.counts().current.get_mut(&unit.key) {
            current.end = end;
        }
    }

    /// Nothing more is done for the unit.
    pub(crate) fn over(&self, unit: &UnitKey) {
        let mut counts = self.counts();
        if let Some(current) = counts.current.remove(unit) {
            counts.busy += current.began.elapsed();
            *counts.ended.entry((unit.kind, current.end)).or_default() += 1;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes everything onto the page. It may look at the machine, which takes some milliseconds.
    pub(crate) fn tell(&self, page: &mut Page) {
        self.tell_units(page);
        store_calls(page, self.store.calls().read());
        if let Some(seen) = self.look_at_machine() {
            machine(page, self.options.id.as_str(), &seen);
        }
    }

    fn tell_units(&self, page: &mut Page) {
        let worker = self.options.id.as_str();
        let classes = self.options.classes.iter().map(UnitClass::as_str);
        let classes = classes.collect::<Vec<_>>().join(",");
        page.family(
            "cellmill_worker_info",
            Kind::Gauge,
            "Who works here; the figure is always 1.",
        )
        .count(
            &[
                ("worker", worker),
                ("classes", &classes),
                ("device", &self.options.device),
            ],
            1,
        );
        let counts = self.tally.counts();
        let ended = page.family(
            "cellmill_worker_units_total",
            Kind::Counter,
            "Units that this worker ended, by how: done, failed, error (tried again), handed_back, cancelled, lost.",
        );
        for ((kind, end), n) in &counts.ended {
            ended.count(&[("kind", kind.as_str()), ("end", end)], *n);
        }
        let of_current: Duration = counts.current.values().map(|it| it.began.elapsed()).sum();
        page.family(
            "cellmill_worker_busy_seconds_total",
            Kind::Counter,
            "Seconds at work on units, of all that ran beside each other together.",
        )
        .set(&[], (counts.busy + of_current).as_secs_f64());
        page.family(
            "cellmill_worker_units_held",
            Kind::Gauge,
            "Units that this worker works on.",
        )
        .count(&[], counts.current.len() as u64);
        let ages = page.family(
            "cellmill_worker_unit_age_seconds",
            Kind::Gauge,
            "How long this worker has worked on each unit that it holds.",
        );
        for (unit, current) in &counts.current {
            ages.set(
                &[("unit", &unit.to_string())],
                current.began.elapsed().as_secs_f64(),
            );
        }
    }

    fn look_at_machine(&self) -> Option<Machine> {
        let meter = Arc::clone(self.options.meter.as_ref()?);
        let mut last = self
            .tally
            .machine
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = last.take().filter(|(at, _)| at.elapsed() < LOOK);
        let (at, seen) = fresh.unwrap_or_else(|| (Instant::now(), meter.read()));
        *last = Some((at, seen.clone()));
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::ids::Dir;

    use super::*;

    #[test]
    fn a_unit_counts_once_and_as_lost_unless_its_end_was_written() {
        let tally = Tally::default();
        let unit = |unit| UnitKey {
            dir: Dir::parse("DkxD9Kjl").unwrap(),
            kind: JobKind::Data,
            unit,
        };
        tally.begun(&unit(0));
        tally.over(&unit(0));
        tally.over(&unit(0));
        let counts = tally.counts();
        let ended: Vec<_> = counts.ended.iter().collect();
        assert_eq!(ended, [(&(JobKind::Data, LOST), &1)]);
    }
}
