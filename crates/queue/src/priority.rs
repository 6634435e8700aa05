//! Several queues as one, the urgent ones first.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Error, Queue, QueueName, Received};

/// Receives from the first of `queues` that has something, and says which it was; `None` after `wait` without any.
///
/// A later queue is asked only when all before it are empty, so a queue that is never empty starves those after
/// it: that is what urgent means. All messages of one call come from one queue.
pub async fn receive_first(
    home: &dyn Queue,
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
