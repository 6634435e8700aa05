//! What goes into a queue and what comes out.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::QueueName;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The text, not empty and at most [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES).
    pub body: String,
    /// How long nobody gets it, at most [`MAX_DELAY`](crate::MAX_DELAY). Homes may round up to whole seconds.
    pub delay: Duration,
}

impl Outgoing {
    /// A message that can be received at once.
    pub fn now(body: impl Into<String>) -> Self {
        Self::after(Duration::ZERO, body)
    }

    /// A message that can be received after `delay`.
    pub fn after(delay: Duration, body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            delay,
        }
    }
}

/// A message that was handed out and is hidden from others for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Names the message for logs; the same for every time it is handed out.
    pub id: String,
    /// Stands for this one handing out: deletes or releases the message.
    pub receipt: Receipt,
    /// The text that was sent.
    pub body: String,
    /// How often the message was handed out, this time included: 1 for the first.
    pub receive_count: u32,
    /// When it was sent, by the home's clock.
    pub sent_at: DateTime<Utc>,
}

/// Stands for one handing out of one message. Only the home that gave it can read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(String);

impl Receipt {
    /// Wraps a home's own text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The home's own text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many messages a queue holds. Approximate where the home is distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Those that a receiver would get now.
    pub visible: u64,
    /// Those that were handed out and are still hidden, and those released with a delay.
    pub in_flight: u64,
    /// Those that were sent with a delay which is not over.
    pub delayed: u64,
}

/// A message that was received too often and is kept for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id it had in its queue.
    pub id: String,
    /// The queue it was sent to.
    pub queue: QueueName,
    /// The text that was sent.
    pub body: String,
    /// How often it was handed out.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was given up; `None` where the home does not record it.
    pub died_at: Option<DateTime<Utc>>,
}
