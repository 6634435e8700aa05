//! The functions of this process.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::messages::{ASSEMBLE, COLLECT, POINTS, UPLOADS};
use cellmill_core::points::CsvLimits;
use cellmill_fn_assemble::Assemble;
use cellmill_fn_collect::Collect;
use cellmill_fn_ingest::Ingest;
use cellmill_fn_janitor::Janitor;
use cellmill_fn_label::Label;
use cellmill_queue::{Queue, QueueName};
use cellmill_service::{Settings, Shutdown};
use cellmill_store::Store;
use cellmill_vision::{DecodeBudget, Limits};

use super::consume;

/// Assembling leaves the rest to another message after this long, so that jobs take turns.
const ASSEMBLE_SLICE: Duration = Duration::from_secs(30);
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

/// The settings as `vision` wants them.
pub(super) fn image_limits(settings: &Settings) -> Limits {
    Limits {
        max_bytes: settings.images.max_bytes,
        max_side: settings.images.max_side,
        max_decoded_bytes: settings.images.max_decoded_bytes,
        ..Limits::default()
    }
}

impl Functions {
    pub(super) fn new(
        store: &Store,
        queue: &Arc<dyn Queue>,
        settings: &Settings,
        budget: &DecodeBudget,
    ) -> Self {
        let (store, queue) = (store.clone(), Arc::clone(queue));
        let window = settings.window;
        let csv = CsvLimits {
            max_bytes: settings.csv.max_bytes,
            max_rows: settings.csv.max_rows as u64,
        };
        Self {
            ingest: Ingest {
                store: store.clone(),
                queue: Arc::clone(&queue),
                limits: image_limits(settings),
                budget: budget.clone(),
            },
            label: Label::new(store.clone(), csv),
            assemble: Assemble {
                store: store.clone(),
                queue: Arc::clone(&queue),
                window,
                images_per_unit: settings.images_per_unit,
                slice: ASSEMBLE_SLICE,
            },
            collect: Collect {
                store: store.clone(),
                queue: Arc::clone(&queue),
                window,
            },
            janitor: Janitor {
                store,
                queue: Arc::clone(&queue),
                timing: settings.timing,
                window,
            },
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
