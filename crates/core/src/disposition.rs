//! What happens to a message whose handling ended.

use std::time::Duration;

/// The end of one message. Every error that can end a message maps to it by one exhaustive match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// What it asked for is durable in a document: delete it.
    Done,
    /// Something outside failed (throttling, a time-out): leave it, it comes again.
    Retry {
        /// When; by default later with every time.
        after: Option<Duration>,
        /// What failed, for the person who finds it among the dead letters when it never succeeds.
        reason: String,
    },
    /// It cannot succeed. The reason is recorded beside the subject, the message is deleted.
    Reject { reason: String },
}

impl Disposition {
    /// It comes again, at the usual pace.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            after: None,
            reason: reason.into(),
        }
    }

    /// The end of a message that asked for two things: while one of them may still succeed, it comes again.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (retry @ Self::Retry { .. }, _) | (_, retry @ Self::Retry { .. }) => retry,
            (reject @ Self::Reject { .. }, _) | (_, reject @ Self::Reject { .. }) => reject,
            (Self::Done, Self::Done) => Self::Done,
        }
    }

    /// Deletes the queue's message?
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Reject { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_again_while_any_part_of_it_may_succeed() {
        let retry = || Disposition::retry("no answer");
        let reject = || Disposition::Reject {
            reason: "no event".to_owned(),
        };
        assert_eq!(retry().and(reject()), retry());
        assert_eq!(reject().and(retry()), retry());
        assert_eq!(Disposition::Done.and(reject()), reject());
        assert!(!Disposition::Done.and(retry()).is_final());
    }
}
