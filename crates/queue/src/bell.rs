//! Wakes the receivers of one process when a queue may have something for them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;

use crate::QueueName;

/// Counts per queue how often something may have become visible.
#[derive(Debug, Default)]
pub(crate) struct Bell(watch::Sender<HashMap<QueueName, u64>>);

impl Bell {
    pub(crate) fn ring(&self, queue: &QueueName) {
        self.0
            .send_modify(|rings| *rings.entry(queue.clone()).or_default() += 1);
    }

    /// Listens from now on. Look into the queues *after* this call, then [`Listener::heard`] misses nothing.
    pub(crate) fn listen<'a>(&self, queues: &'a [QueueName]) -> Listener<'a> {
        let rings = self.0.subscribe();
        let before = total(&rings.borrow(), queues);
        Listener {
            rings,
            queues,
            before,
        }
    }
}

pub(crate) struct Listener<'a> {
    rings: watch::Receiver<HashMap<QueueName, u64>>,
    queues: &'a [QueueName],
    before: u64,
}

impl Listener<'_> {
    /// Waits until the bell rang for one of the queues, at most `wait`.
    pub(crate) async fn heard(mut self, wait: Duration) {
        let rang = self
            .rings
            .wait_for(|rings| total(rings, self.queues) != self.before);
        // Silence for the whole time is an answer like a ring: the caller looks again either way.
        let _ = tokio::time::timeout(wait, rang).await;
    }
}

fn total(rings: &HashMap<QueueName, u64>, queues: &[QueueName]) -> u64 {
    queues.iter().filter_map(|it| rings.get(it)).sum()
}
