//! What happens to a message whose handling ended.

use std::time::Duration;

/// The end of one message. Every error that can end a message maps to it by one exhaustive match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// What it asked for is durable in a document: delete it.
    Done,
    /// Something outside failed (throttling, a time-out): leave it, it comes again.
    Retry { after: Option<Duration> },
    /// It cannot succeed. The reason is recorded beside the subject, the message is deleted.
    Reject { reason: String },
}

impl Disposition {
    /// Deletes the queue's message?
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Reject { .. })
    }
}
