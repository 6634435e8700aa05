//! The trait that every home implements.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::priority::ask_and_wait;
use crate::{DeadLetter, Depth, Error, Outgoing, QueueName, Receipt, Received};

/// Queues by name, each made on its first use.
///
/// A home promises *at least once*, in no order: every message that was sent is handed out until somebody
/// deletes it or it was handed out too often, perhaps twice, perhaps later than one sent after it. While a
/// message is hidden nobody else gets it.
///
/// The caller's duties:
///
/// 1. Handle any message twice, and in any order, without harm.
/// 2. Delete a message only after what it asks for is durable in a document.
/// 3. Delete or release within the visibility asked for; later, somebody else may hold the message.
/// 4. Delete what can never succeed, after its reason is recorded; leave alone or release what may succeed later.
/// 5. Treat an error as "perhaps it happened": send again, delete again.
///
/// A call that is dropped half way may have taken effect; messages it would have returned come back when their
/// visibility is over.
#[async_trait]
pub trait Queue: Debug + Send + Sync + 'static {
    /// Sends `messages`, any number of them. `Ok` means that all are kept, even when the process is killed now.
    /// After an error any part of them may have been sent, unless one broke a limit: then none was.
    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Result<(), Error>;

    /// Hands out up to `max` messages and hides them for `visibility`.
    ///
    /// Returns as soon as there is at least one, and with none only after `wait`. Messages that were handed out
    /// as often as the settings allow become dead letters instead.
    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, Error>;

    /// Receives from the first of `queues` that has something, and says which it was; `None` after `wait` without
    /// any.
    ///
    /// A later queue is asked only when all before it are empty, so a queue that is never empty starves those after
    /// it: that is what urgent means. All messages of one call come from one queue.
    async fn receive_first(
        &self,
        queues: &[QueueName],
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Option<(QueueName, Vec<Received>)>, Error> {
        ask_and_wait(self, queues, max, visibility, wait).await
    }

    /// Waits until one of `queues` may have a message to hand out, at most `wait`; early and in vain is allowed.
    /// Hands out nothing: [`receive_first`](Self::receive_first) is made of this.
    async fn wait_for_any(&self, queues: &[QueueName], wait: Duration) -> Result<(), Error>;

    /// Ends messages for good. Deleting twice is `Ok`; a receipt from an earlier handing out is `Ok` too and
    /// deletes nothing that another receiver holds now.
    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<(), Error>;

    /// Hides a received message for `delay` from now on: zero gives it back at once, more than what is left of
    /// its visibility keeps it for longer. An outdated receipt is `Ok` and does nothing.
    async fn release(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        delay: Duration,
    ) -> Result<(), Error>;

    /// How many messages the queue holds; dead letters are in a queue of their own,
    /// [`QueueName::dead_letters`].
    async fn depth(&self, queue: &QueueName) -> Result<Depth, Error>;

    /// Shows up to `max` dead letters of `queue` without taking them, oldest first where the home has an order.
    async fn dead(&self, queue: &QueueName, max: usize) -> Result<Vec<DeadLetter>, Error>;

    /// How often a message of `queue` is handed out before it becomes a dead letter.
    fn max_receives(&self, queue: &QueueName) -> u32;

    /// Ends all messages of the queue, received ones too, but not its dead letters.
    async fn purge(&self, queue: &QueueName) -> Result<(), Error>;
}
