//! What can go wrong in the frame itself.

use cellmill_core::keys::JobKind;

/// A boxed cause.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why the worker could not start, or one of its steps did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The storage did not do what it was asked.
    #[error("worker could not {action}")]
    Store {
        /// What was to be done.
        action: &'static str,
        /// What the store said.
        #[source]
        source: cellmill_store::Error,
    },
    /// The queue did not do what it was asked.
    #[error("worker could not {action}")]
    Queue {
        /// What was to be done.
        action: &'static str,
        /// What the queue said.
        #[source]
        source: cellmill_queue::Error,
    },
    /// A kind was asked for that no algorithm works on.
    #[error("no algorithm of this worker does `{}` units", kind.as_str())]
    NoAlgorithm {
        /// The kind.
        kind: JobKind,
    },
    /// Two algorithms claim the same kind.
    #[error("two algorithms of this worker do `{}` units", kind.as_str())]
    TwoAlgorithms {
        /// The kind.
        kind: JobKind,
    },
    /// The options contradict themselves.
    #[error("worker needs {rule}")]
    Options {
        /// What is missing.
        rule: &'static str,
    },
}

impl Error {
    /// For `map_err`: the store failed while doing `action`.
    pub(crate) fn store(action: &'static str) -> impl FnOnce(cellmill_store::Error) -> Self {
        move |source| Self::Store { action, source }
    }

    /// For `map_err`: the queue failed while doing `action`.
    pub(crate) fn queue(action: &'static str) -> impl FnOnce(cellmill_queue::Error) -> Self {
        move |source| Self::Queue { action, source }
    }
}
