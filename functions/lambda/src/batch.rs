//! Batches of messages, and the answer that names those which are to come again.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use cellmill_core::disposition::Disposition;
use cellmill_queue::letters::{Ending, ending, send_letter};
use cellmill_queue::{Queue, QueueName, Receipt, Received};
use cellmill_service::report;
use chrono::DateTime;
use futures::stream::{self, StreamExt as _};
use lambda_runtime::{Context, LambdaEvent, service_fn};
use tracing::Instrument as _;

use crate::{Error, Home};

/// Kept of an invocation's time for its answer.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Serves a queue, each message for itself, `concurrency` at a time.
pub async fn serve_each<F, R>(
    home: &Home,
    queue: &'static str,
    concurrency: usize,
    handle: F,
) -> Result<(), Error>
where
    F: Fn(String) -> R + Send + Sync,
    R: Future<Output = Disposition> + Send,
{
    let name = QueueName::from_static(queue);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let left = time_left(&event.context);
        let (name, handle) = (&name, &handle);
        let answers = stream::iter(messages(event.payload)).map(|message| async move {
            let span = span(name, &message);
            let handled = within(left, handle(message.body.clone()));
            async {
                let outcome = handled.await;
                end(&*home.queue, name, &message, outcome).await
            }
            .instrument(span)
            .await
        });
        let failed: Vec<Option<String>> = answers.buffer_unordered(concurrency).collect().await;
        Ok::<_, Error>(answer(failed))
    }))
    .await
}

/// Serves a queue, a batch of messages at a time.
pub async fn serve_batches<F, R>(home: &Home, queue: &'static str, handle: F) -> Result<(), Error>
where
    F: Fn(Vec<String>) -> R + Send + Sync,
    R: Future<Output = Vec<Disposition>> + Send,
{
    let name = QueueName::from_static(queue);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let left = time_left(&event.context);
        let messages = messages(event.payload);
        let bodies: Vec<String> = messages.iter().map(|it| it.body.clone()).collect();
        let whole = tracing::info_span!("batch", queue = name.as_str(), n_messages = bodies.len());
        let outcomes = tokio::time::timeout(left, handle(bodies).instrument(whole)).await;
        let outcomes = outcomes.unwrap_or_else(|_| vec![out_of_time(); messages.len()]);
        let mut failed = Vec::with_capacity(messages.len());
        for (message, outcome) in messages.iter().zip(outcomes) {
            let ended = end(&*home.queue, &name, message, outcome);
            failed.push(ended.instrument(span(&name, message)).await);
        }
        Ok::<_, Error>(answer(failed))
    }))
    .await
}

fn span(queue: &QueueName, message: &Received) -> tracing::Span {
    tracing::info_span!(
        "message",
        queue = queue.as_str(),
        message_id = message.id,
        attempt = message.receive_count
    )
}

fn time_left(context: &Context) -> Duration {
    let deadline = context.deadline();
    let left = deadline.duration_since(std::time::SystemTime::now());
    left.unwrap_or_default().saturating_sub(LAST_WORDS)
}

async fn within(left: Duration, handled: impl Future<Output = Disposition>) -> Disposition {
    tokio::time::timeout(left, handled)
        .await
        .unwrap_or_else(|_| out_of_time())
}

fn out_of_time() -> Disposition {
    Disposition::retry("the function's time was over")
}

/// Ends one message. `Some`: its id, when it is to come again. Messages that are not named are deleted by Lambda.
async fn end(
    queue: &dyn Queue,
    name: &QueueName,
    message: &Received,
    outcome: Disposition,
) -> Option<String> {
    let comes_again = || Some(message.id.clone());
    match ending(outcome, message.receive_count, queue.max_receives(name)) {
        Ending::Delete => None,
        Ending::Bury(reason) => {
            tracing::error!(reason, "message given up");
            match send_letter(queue, name, message, reason).await {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(error = report(&error), "letter not written");
                    comes_again()
                }
            }
        }
        Ending::Release(delay) => {
            // Without this it would stay hidden for as long as a whole invocation may take.
            if let Err(error) = queue.release(name, &message.receipt, delay).await {
                tracing::warn!(error = report(&error), "message comes again late");
            }
            comes_again()
        }
    }
}

fn answer(failed: Vec<Option<String>>) -> SqsBatchResponse {
    let failures = failed.into_iter().flatten().map(|id| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        failure
    });
    let mut answer = SqsBatchResponse::default();
    answer.batch_item_failures = failures.collect();
    answer
}

/// The messages of an event. One without an id can't be named in the answer, and SQS sends none.
fn messages(event: SqsEvent) -> Vec<Received> {
    event.records.into_iter().map(received).collect()
}

fn received(message: SqsMessage) -> Received {
    let number = |name: &str| -> Option<i64> { message.attributes.get(name)?.parse().ok() };
    let sent_ms = number("SentTimestamp").unwrap_or(0);
    let receive_count = number("ApproximateReceiveCount").unwrap_or(1);
    Received {
        id: message.message_id.unwrap_or_default(),
        receipt: Receipt::new(message.receipt_handle.unwrap_or_default()),
        body: message.body.unwrap_or_default(),
        receive_count: u32::try_from(receive_count).unwrap_or(1),
        sent_at: DateTime::from_timestamp_millis(sent_ms).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use cellmill_queue::{MemoryQueue, Outgoing, letters};

    use super::*;

    const UPLOADS: QueueName = QueueName::from_static("uploads");

    /// What Lambda hands over for messages of a queue, as far as it is read.
    fn event(messages: &[(&str, &str, u32)]) -> SqsEvent {
        let records: Vec<serde_json::Value> = messages
            .iter()
            .map(|(id, body, count)| {
                serde_json::json!({
                    "messageId": id,
                    "receiptHandle": "0.1",
                    "body": body,
                    "attributes": {
                        "ApproximateReceiveCount": count.to_string(),
                        "SentTimestamp": "1700000000000",
                    },
                    "eventSource": "aws:sqs",
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
    }

    #[test]
    fn an_event_is_read_as_its_messages() {
        let read = messages(event(&[("m1", "body", 3)]));
        assert_eq!(read[0].id, "m1");
        assert_eq!(read[0].body, "body");
        assert_eq!(read[0].receive_count, 3);
        assert_eq!(read[0].sent_at.timestamp(), 1_700_000_000);
        assert_eq!(messages(event(&[])), []);
    }

    #[tokio::test]
    async fn only_what_comes_again_is_named_and_what_cannot_succeed_gets_a_letter() {
        let queue = MemoryQueue::default();
        queue.send(&UPLOADS, &[Outgoing::now("x")]).await.unwrap();
        let read = messages(event(&[
            ("good", "a", 1),
            ("bad", "b", 1),
            ("later", "c", 1),
            ("last", "d", 5),
        ]));
        let outcomes = [
            Disposition::Done,
            Disposition::Reject {
                reason: "no event".to_owned(),
            },
            Disposition::retry("no answer"),
            Disposition::retry("no answer"),
        ];
        let mut failed = Vec::new();
        for (message, outcome) in read.iter().zip(outcomes) {
            failed.push(end(&queue, &UPLOADS, message, outcome).await);
        }
        let answer = serde_json::to_value(answer(failed)).unwrap();
        assert_eq!(
            answer,
            serde_json::json!({"batchItemFailures": [{"itemIdentifier": "later"}]})
        );
        let mut told: Vec<_> = letters::list(&queue, &UPLOADS, 10)
            .await
            .unwrap()
            .into_iter()
            .map(|it| (it.body, it.reason.unwrap(), it.attempts))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                ("b".to_owned(), "no event".to_owned(), 1),
                ("d".to_owned(), "no answer".to_owned(), 5)
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_takes_too_long_is_tried_again() {
        let never = std::future::pending::<Disposition>();
        let outcome = within(Duration::from_secs(1), never).await;
        assert!(matches!(outcome, Disposition::Retry { .. }), "{outcome:?}");
    }
}
