//! The trait over SQS.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use super::client::Queues;
use super::error::{is_outdated, says_outdated, unavailable};
use crate::limits::{MAX_BODY_BYTES, check_messages, check_visibility};
use crate::{DeadLetter, Depth, Error, Outgoing, Queue, QueueName, Receipt, Received, Settings};

/// Entries of one batch, and messages of one answer.
const BATCH: usize = 10;
/// The longest wait that one request may ask for.
const LONGEST_POLL: Duration = Duration::from_secs(20);
/// How long the last of several queues is waited for before those before it are asked again: what an urgent
/// message waits at most for an idle worker. Idle, this is 24 requests a minute for two queues.
const SLICE: Duration = Duration::from_secs(5);
/// How long dead letters are hidden while they are looked through.
const LOOK: Duration = Duration::from_secs(30);
/// A batch of which a part failed on SQS's side is sent again, the failed part only.
const PARTIAL_TRIES: u32 = 5;
const PARTIAL_PAUSE: Duration = Duration::from_millis(200);

/// Queues of SQS whose names start with one prefix. They are made by the template of `infra/`; a name that is
/// not there is an error.
#[derive(Debug)]
pub struct SqsQueue {
    pub(super) queues: Queues,
    pub(super) settings: Settings,
}

impl SqsQueue {
    /// The queues `<prefix>-<name>`. Nothing is asked before the first call; region, credentials and endpoint are
    /// then taken from the environment.
    pub fn new(prefix: &str, settings: Settings) -> Self {
        Self {
            queues: Queues::new(prefix),
            settings,
        }
    }

    /// One request for messages. An answer can be empty though there are some: SQS asks a part of its machines
    /// when it is not told to wait.
    async fn poll(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, Error> {
        let url = self.queues.url(queue).await?;
        let answer = self
            .queues
            .client()
            .await
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(max.clamp(1, BATCH) as i32)
            .visibility_timeout(whole_seconds(visibility))
            .wait_time_seconds(wait.min(LONGEST_POLL).as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|it| self.failed("receive messages", it))?;
        Ok(answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .map(received)
            .collect())
    }

    fn failed<E>(&self, action: &'static str, error: aws_sdk_sqs::error::SdkError<E>) -> Error
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        unavailable(&self.queues.prefix, action, error)
    }

    fn failed_in_part(&self, action: &'static str, failed: &[BatchResultErrorEntry]) -> Error {
        let first = failed.first();
        let code = first.map_or("", BatchResultErrorEntry::code);
        let message = first.and_then(|it| it.message()).unwrap_or_default();
        Error::Unavailable {
            home: format!("sqs://{}", self.queues.prefix),
            action,
            source: format!("{} of a batch failed: {code} {message}", failed.len()).into(),
        }
    }

    async fn send_batch(&self, url: &str, messages: &[Outgoing]) -> Result<(), Error> {
        let mut left: Vec<usize> = (0..messages.len()).collect();
        for tried in 1.. {
            let entries = left.iter().map(|&place| {
                SendMessageBatchRequestEntry::builder()
                    .id(place.to_string())
                    .message_body(&messages[place].body)
                    .delay_seconds(whole_seconds(messages[place].delay))
                    .build()
                    .expect("an entry has an id and a body")
            });
            let answer = self
                .queues
                .client()
                .await
                .send_message_batch()
                .queue_url(url)
                .set_entries(Some(entries.collect()))
                .send()
                .await
                .map_err(|it| self.failed("send messages", it))?;
            if answer.failed.is_empty() {
                return Ok(());
            }
            if tried == PARTIAL_TRIES || answer.failed.iter().any(|it| it.sender_fault) {
                return Err(self.failed_in_part("send messages", &answer.failed));
            }
            left.retain(|place| answer.failed.iter().any(|it| it.id == place.to_string()));
            sleep(PARTIAL_PAUSE * tried).await;
        }
        unreachable!("the loop returns")
    }

    async fn delete_batch(&self, url: &str, receipts: &[Receipt]) -> Result<(), Error> {
        let entries = receipts.iter().enumerate().map(|(place, receipt)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(place.to_string())
                .receipt_handle(receipt.as_str())
                .build()
                .expect("an entry has an id and a receipt")
        });
        let answer = self
            .queues
            .client()
            .await
            .delete_message_batch()
            .queue_url(url)
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|it| self.failed("delete messages", it))?;
        let failed: Vec<BatchResultErrorEntry> = answer
            .failed
            .into_iter()
            .filter(|it| !says_outdated(it.code()) && !it.message().is_some_and(says_outdated))
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(self.failed_in_part("delete messages", &failed))
        }
    }

    async fn count(&self, queue: &QueueName) -> Result<Depth, Error> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let url = self.queues.url(queue).await?;
        let answer = self
            .queues
            .client()
            .await
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(ApproximateNumberOfMessages)
            .attribute_names(ApproximateNumberOfMessagesDelayed)
            .attribute_names(ApproximateNumberOfMessagesNotVisible)
            .send()
            .await
            .map_err(|it| self.failed("count messages", it))?;
        let attributes = answer.attributes.unwrap_or_default();
        let number = |name| {
            let text = attributes.get(&name);
            text.and_then(|it| it.parse().ok()).unwrap_or(0)
        };
        Ok(Depth {
            visible: number(ApproximateNumberOfMessages),
            in_flight: number(ApproximateNumberOfMessagesNotVisible),
            delayed: number(ApproximateNumberOfMessagesDelayed),
        })
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Result<(), Error> {
        check_messages(queue, messages)?;
        if messages.is_empty() {
            return Ok(());
        }
        let url = self.queues.url(queue).await?;
        for batch in batches(messages) {
            self.send_batch(&url, batch).await?;
        }
        Ok(())
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, Error> {
        check_visibility(queue, visibility)?;
        let deadline = Instant::now() + wait;
        let mut messages = Vec::new();
        while messages.len() < max {
            let left = if messages.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                // There is something to return: look for more, but wait no longer.
                Duration::ZERO
            };
            let asked = max - messages.len();
            let some = self.poll(queue, asked, visibility, left).await?;
            if !some.is_empty() {
                // Less than a full answer: asking again would mostly be in vain.
                let is_full = some.len() == asked.min(BATCH);
                messages.extend(some);
                if is_full {
                    continue;
                }
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                break;
            }
            // SQS waits whole seconds; what is less is waited here.
            if left < Duration::from_secs(1) {
                sleep(left).await;
            }
        }
        Ok(messages)
    }

    /// As the default, but it waits in the storage of the last queue, not here: a long poll costs one request.
    async fn receive_first(
        &self,
        queues: &[QueueName],
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Option<(QueueName, Vec<Received>)>, Error> {
        let deadline = Instant::now() + wait;
        let Some((last, earlier)) = queues.split_last() else {
            return Ok(None);
        };
        loop {
            for queue in earlier {
                let messages = self.receive(queue, max, visibility, Duration::ZERO).await?;
                if !messages.is_empty() {
                    return Ok(Some((queue.clone(), messages)));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let messages = self.receive(last, max, visibility, left.min(SLICE)).await?;
            if !messages.is_empty() {
                return Ok(Some((last.clone(), messages)));
            }
            if max == 0 || deadline <= Instant::now() {
                return Ok(None);
            }
        }
    }

    /// SQS tells nobody without handing out: this waits a second, early and in vain.
    async fn wait_for_any(&self, _: &[QueueName], wait: Duration) -> Result<(), Error> {
        sleep(wait.min(Duration::from_secs(1))).await;
        Ok(())
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<(), Error> {
        if receipts.is_empty() {
            return Ok(());
        }
        let url = self.queues.url(queue).await?;
        for batch in receipts.chunks(BATCH) {
            self.delete_batch(&url, batch).await?;
        }
        Ok(())
    }

    async fn release(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        delay: Duration,
    ) -> Result<(), Error> {
        check_visibility(queue, delay)?;
        let url = self.queues.url(queue).await?;
        let changed = self
            .queues
            .client()
            .await
            .change_message_visibility()
            .queue_url(url)
            .receipt_handle(receipt.as_str())
            .visibility_timeout(whole_seconds(delay))
            .send()
            .await;
        match changed {
            Ok(_) => Ok(()),
            Err(error) if is_outdated(&error) => Ok(()),
            Err(error) => Err(self.failed("give a message back", error)),
        }
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, Error> {
        self.count(queue).await
    }

    async fn dead(&self, queue: &QueueName, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let letters = queue.dead_letters();
        let found = self.receive(&letters, max, LOOK, Duration::ZERO).await?;
        for message in &found {
            self.release(&letters, &message.receipt, Duration::ZERO)
                .await?;
        }
        let mut shown: Vec<DeadLetter> = found
            .into_iter()
            .map(|it| DeadLetter {
                id: it.id,
                queue: queue.clone(),
                body: it.body,
                // What SQS counts goes on with every look; this is what made it a dead letter.
                receive_count: self.settings.max_receives(queue),
                sent_at: it.sent_at,
                died_at: None,
            })
            .collect();
        shown.sort_by(|a, b| (a.sent_at, &a.id).cmp(&(b.sent_at, &b.id)));
        Ok(shown)
    }

    fn max_receives(&self, queue: &QueueName) -> u32 {
        self.settings.max_receives(queue)
    }

    async fn purge(&self, queue: &QueueName) -> Result<(), Error> {
        let url = self.queues.url(queue).await?;
        let purged = self
            .queues
            .client()
            .await
            .purge_queue()
            .queue_url(url)
            .send()
            .await;
        purged
            .map(|_| ())
            .map_err(|it| self.failed("empty a queue", it))
    }
}

fn received(message: Message) -> Received {
    let attributes = message.attributes.unwrap_or_default();
    let number = |name: MessageSystemAttributeName| {
        let text = attributes.get(&name);
        text.and_then(|it| it.parse::<i64>().ok()).unwrap_or(0)
    };
    let sent_ms = number(MessageSystemAttributeName::SentTimestamp);
    Received {
        id: message.message_id.unwrap_or_default(),
        receipt: Receipt::new(message.receipt_handle.unwrap_or_default()),
        body: message.body.unwrap_or_default(),
        receive_count: number(MessageSystemAttributeName::ApproximateReceiveCount) as u32,
        sent_at: DateTime::<Utc>::from_timestamp_millis(sent_ms).unwrap_or_default(),
    }
}

/// SQS counts in whole seconds; a part of one counts as one.
fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// At most ten messages, and together no longer than one may be: SQS bounds the whole request so.
fn batches(messages: &[Outgoing]) -> impl Iterator<Item = &[Outgoing]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |it: &&Outgoing| {
            bytes += it.body.len();
            bytes <= MAX_BODY_BYTES
        };
        let n_fitting = rest.iter().take(BATCH).take_while(fits).count();
        let (batch, left) = rest.split_at(n_fitting.max(1).min(rest.len()));
        rest = left;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_short_and_light() {
        let sizes = |bodies: &[usize]| {
            let messages: Vec<Outgoing> = bodies
                .iter()
                .map(|&it| Outgoing::now("x".repeat(it)))
                .collect();
            batches(&messages).map(<[_]>::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1; 23]), [10, 10, 3]);
        assert_eq!(sizes(&[MAX_BODY_BYTES, 1, MAX_BODY_BYTES]), [1, 1, 1]);
        assert_eq!(sizes(&[MAX_BODY_BYTES / 2; 5]), [2, 2, 1]);
    }

    #[test]
    fn parts_of_a_second_are_not_lost() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2001)), 3);
    }
}
