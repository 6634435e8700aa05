//! The functions of this process.

use std::sync::Arc;

use cellmill_core::messages::{ASSEMBLE, COLLECT, POINTS, UPLOADS};
use cellmill_fn_assemble::Assemble;
use cellmill_fn_collect::Collect;
use cellmill_fn_ingest::Ingest;
use cellmill_fn_janitor::Janitor;
use cellmill_fn_label::Label;
use cellmill_queue::{Queue, QueueName};
use cellmill_service::{Settings, Shutdown};
use cellmill_store::Store;
use cellmill_vision::DecodeBudget;

use super::consume;

/// Labels are small reads and writes: the wait for the disk is what costs.
const LABELS_AT_ONCE: usize = 4;

/// All functions, wired to one store and one queue.
#[derive(Clone, Debug)]
pub(super) struct Functions {
    queue: Arc<dyn Queue>,
    ingest: Ingest,
    label: Label,
    assemble: Assemble,
    collect: Collect,
    pub(super) janitor: Janitor,
    images_at_once: usize,
}

impl Functions {
    pub(super) fn new(
        store: &Store,
        queue: &Arc<dyn Queue>,
        settings: &Settings,
        budget: &DecodeBudget,
    ) -> Self {
        let (store, queue) = (store.clone(), Arc::clone(queue));
        Self {
            ingest: Ingest::new(store.clone(), Arc::clone(&queue), settings, budget.clone()),
            label: Label::of_settings(store.clone(), settings),
            assemble: Assemble::new(store.clone(), Arc::clone(&queue), settings),
            collect: Collect::new(store.clone(), Arc::clone(&queue), settings),
            janitor: Janitor::new(store, Arc::clone(&queue), settings),
            images_at_once: settings.threads.max(1),
            queue,
        }
    }

    /// Serves the queues until the shutdown.
    pub(super) fn serve(&self, shutdown: &Shutdown) {
        let queue = || Arc::clone(&self.queue);
        let (ingest, label) = (self.ingest.clone(), self.label.clone());
        let (assemble, collect) = (self.assemble.clone(), self.collect.clone());
        let images_at_once = self.images_at_once;
        shutdown.spawn(consume::each(
            queue(),
            QueueName::from_static(UPLOADS),
            images_at_once,
            shutdown.token(),
            move |body: String| {
                let ingest = ingest.clone();
                async move { ingest.handle(&body).await }
            },
        ));
        shutdown.spawn(consume::each(
            queue(),
            QueueName::from_static(POINTS),
            LABELS_AT_ONCE,
            shutdown.token(),
            move |body: String| {
                let label = label.clone();
                async move { label.handle(&body).await }
            },
        ));
        shutdown.spawn(consume::each(
            queue(),
            QueueName::from_static(ASSEMBLE),
            1,
            shutdown.token(),
            move |body: String| {
                let assemble = assemble.clone();
                async move { assemble.handle(&body).await }
            },
        ));
        shutdown.spawn(consume::batches(
            queue(),
            QueueName::from_static(COLLECT),
            shutdown.token(),
            move |bodies: Vec<String>| {
                let collect = collect.clone();
                async move { collect.handle(&bodies).await }
            },
        ));
    }
}
