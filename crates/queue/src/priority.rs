//! Several queues as one, the urgent ones first.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Error, Queue, QueueName, Received};

/// Receives from the first of `queues` that has something, by asking each and waiting for any: how
/// [`Queue::receive_first`] works in homes that can be woken.
pub(crate) async fn ask_and_wait<Q: Queue + ?Sized>(
    home: &Q,
    queues: &[QueueName],
    max: usize,
    visibility: Duration,
    wait: Duration,
) -> Result<Option<(QueueName, Vec<Received>)>, Error> {
    let deadline = Instant::now() + wait;
    loop {
        for queue in queues {
            let messages = home.receive(queue, max, visibility, Duration::ZERO).await?;
            if !messages.is_empty() {
                return Ok(Some((queue.clone(), messages)));
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || max == 0 {
            return Ok(None);
        }
        home.wait_for_any(queues, left).await?;
    }
}
