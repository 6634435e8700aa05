//! One look at documents and queues.

use std::collections::{BTreeMap, BTreeSet};

use cellmill_core::messages::{UnitClass, queue_names};
use cellmill_core::records::WorkerRecord;
use cellmill_queue::{Depth, Queue, QueueName};

use super::jobs::{JobsSeen, JobsWatch};
use crate::edge::Error;
use crate::parts::App;
use crate::routes::job_view::seconds_between;
use crate::routes::workers::workers;

/// What was seen. A part that did not answer has no figures, and the others have theirs.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) jobs: JobsSeen,
    workers: Vec<WorkerSeen>,
    /// Each with the number of its dead letters.
    pub(super) queues: Vec<(QueueName, Depth, u64)>,
    pub(super) is_store_up: bool,
    pub(super) is_queue_up: bool,
}

#[derive(Debug)]
pub(super) struct WorkerSeen {
    pub(super) record: WorkerRecord,
    pub(super) age_s: u64,
    is_live: bool,
}

impl Look {
    pub(super) async fn take(app: &App, watch: &mut JobsWatch) -> Self {
        let mut look = Self::default();
        match look.at_store(app, watch).await {
            Ok(()) => look.is_store_up = true,
            Err(error) => complain("store", &error),
        }
        match look.at_queue(&*app.queue).await {
            Ok(()) => look.is_queue_up = true,
            Err(error) => complain("queue", &error),
        }
        look
    }

    async fn at_store(&mut self, app: &App, watch: &mut JobsWatch) -> Result<(), Error> {
        let (now, timing) = (app.store.now(), app.settings.timing);
        self.jobs = watch.look(&app.store, now, timing).await?;
        let seen = workers(&app.store).await?.into_iter().map(|it| WorkerSeen {
            age_s: seconds_between(it.last_modified, now),
            is_live: !timing.is_gone(it.last_modified, now),
            record: it.value,
        });
        self.workers = seen.collect();
        Ok(())
    }

    /// Every usual queue, and those of the classes that were seen.
    async fn at_queue(&mut self, queue: &dyn Queue) -> Result<(), cellmill_queue::Error> {
        let served = self.workers.iter().flat_map(|it| &it.record.classes);
        let mut classes: BTreeSet<UnitClass> = served.cloned().collect();
        let needed = self.jobs.loads.keys();
        classes.extend(needed.filter_map(|it| UnitClass::parse(it).ok()));
        let of_classes = classes.iter().filter(|it| !it.is_legacy());
        let names: BTreeSet<String> = of_classes
            .flat_map(|it| [it.queue(), it.urgent_queue()])
            .chain(queue_names())
            .collect();
        for name in names {
            let name = QueueName::parse(&name)?;
            let depth = queue.depth(&name).await?;
            let dead = queue.depth(&name.dead_letters()).await?;
            let n_dead = dead.visible + dead.in_flight + dead.delayed;
            self.queues.push((name, depth, n_dead));
        }
        Ok(())
    }

    pub(super) fn live_workers(&self) -> impl Iterator<Item = &WorkerSeen> {
        self.workers.iter().filter(|it| it.is_live)
    }

    /// By class and state.
    pub(super) fn workers_by_class(&self) -> BTreeMap<(&str, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for it in &self.workers {
            let state = match (it.is_live, &it.record.unit) {
                (false, _) => "gone",
                (true, Some(_)) => "working",
                (true, None) => "idle",
            };
            for class in &it.record.classes {
                *counts.entry((class.as_str(), state)).or_default() += 1;
            }
        }
        counts
    }
}

fn complain(part: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(
        part,
        error = cellmill_service::report(error),
        "figures are missing"
    );
}
