//! Runs the functions in this process: takes messages, hands them over, ends them as the handler says.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cellmill_core::disposition::Disposition;
use cellmill_queue::{Queue, QueueName, Received, letters};
use cellmill_service::report;
use futures::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

/// A message that is not ended within this comes again. Longer than the handling of one batch takes; two
/// handlers of one message do no harm, they only do work twice.
const VISIBILITY: Duration = Duration::from_mins(5);
/// How long one look into an empty queue waits; also what a shutdown waits at most for an idle consumer.
const WAIT: Duration = Duration::from_secs(1);
/// What SQS hands out at most.
const BATCH: usize = 10;

/// Serves one queue until the shutdown, each message for itself, `concurrency` at a time.
pub(super) async fn each<F, R>(
    queue: Arc<dyn Queue>,
    name: QueueName,
    concurrency: usize,
    shutdown: CancellationToken,
    handle: F,
) where
    F: Fn(String) -> R + Send + Sync,
    R: Future<Output = Disposition> + Send,
{
    while !shutdown.is_cancelled() {
        let messages = receive(&*queue, &name).await;
        let all = stream::iter(messages).for_each_concurrent(concurrency, |message| {
            let handled = handle(message.body.clone());
            let (queue, name) = (Arc::clone(&queue), name.clone());
            async move { end(&*queue, &name, &message, handled.await).await }
        });
        all.await;
    }
}

/// Serves one queue until the shutdown, a batch of messages at a time.
pub(super) async fn batches<F, R>(
    queue: Arc<dyn Queue>,
    name: QueueName,
    shutdown: CancellationToken,
    handle: F,
) where
    F: Fn(Vec<String>) -> R + Send + Sync,
    R: Future<Output = Vec<Disposition>> + Send,
{
    while !shutdown.is_cancelled() {
        let messages = receive(&*queue, &name).await;
        if messages.is_empty() {
            continue;
        }
        let outcomes = handle(messages.iter().map(|it| it.body.clone()).collect()).await;
        for (message, outcome) in messages.iter().zip(outcomes) {
            end(&*queue, &name, message, outcome).await;
        }
    }
}

async fn receive(queue: &dyn Queue, name: &QueueName) -> Vec<Received> {
    match queue.receive(name, BATCH, VISIBILITY, WAIT).await {
        Ok(messages) => messages,
        Err(error) => {
            tracing::error!(
                queue = name.as_str(),
                error = report(&error),
                "queue can't be read"
            );
            tokio::time::sleep(WAIT).await;
            Vec::new()
        }
    }
}

async fn end(queue: &dyn Queue, name: &QueueName, message: &Received, outcome: Disposition) {
    if let Disposition::Reject { reason } = &outcome {
        tracing::error!(
            queue = name.as_str(),
            message_id = message.id,
            reason,
            "message rejected"
        );
    }
    if let Err(error) = letters::finish(queue, name, message, outcome).await {
        tracing::warn!(
            queue = name.as_str(),
            error = report(&error),
            "message comes again"
        );
    }
}
