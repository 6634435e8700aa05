//! What can be chosen about a home.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::QueueName;

/// What can be chosen about a home; the defaults fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often a message is handed out before it becomes a dead letter. The default of 5 outlives a few
    /// crashes of receivers, and stops a message that crashes each of them.
    pub max_receives: u32,
    /// Queues with a `max_receives` of their own.
    pub max_receives_of: BTreeMap<QueueName, u32>,
    /// How often a waiting receiver looks for messages of other processes (`SQLite` only): 100 ms. Messages of its
    /// own process wake it at once.
    pub poll: Duration,
    /// How long a call waits for another process to finish writing (`SQLite` only): 10 s, a hundred times what the
    /// largest write takes.
    pub busy_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_receives: 5,
            max_receives_of: BTreeMap::new(),
            poll: Duration::from_millis(100),
            busy_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// How often a message of `queue` is handed out; without end where the queue is a dead-letter queue.
    pub(crate) fn max_receives(&self, queue: &QueueName) -> u32 {
        if queue.is_dead_letters() {
            return u32::MAX;
        }
        self.max_receives_of
            .get(queue)
            .copied()
            .unwrap_or(self.max_receives)
    }
}
