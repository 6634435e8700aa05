//! Dead letters that say why: how a message ends that can't succeed, and how it is sent on its way again.
//!
//! A home puts aside what was handed out too often, but it does not know what failed. So whoever handles messages
//! writes a letter itself, with the reason, as soon as it knows that there is no other end. Only the messages of
//! handlers that died without a word are put aside by the home, and have none.

use std::time::Duration;

use cellmill_core::disposition::Disposition;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{DeadLetter, Error, MAX_BODY_BYTES, Outgoing, Queue, QueueName, Receipt, Received};

/// The first pause before a message that could not be handled comes again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// No longer than this, so that a bucket that is back is used soon.
const MAX_RETRY: Duration = Duration::from_mins(1);
/// A reason is for people; more than this nobody reads.
const MAX_REASON_BYTES: usize = 4096;
/// How long letters are hidden while they are looked through.
const LOOK: Duration = Duration::from_secs(30);
/// Letters received at a time.
const BATCH: usize = 10;

/// A message with the reason of its end, as it lies in a dead-letter queue.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    /// Tells an envelope from a message that the home put aside: 1.
    cellmill_dead_letter: u32,
    /// The id that the message had.
    id: String,
    body: String,
    reason: String,
    attempts: u32,
    sent_at: DateTime<Utc>,
    died_at: DateTime<Utc>,
}

impl Envelope {
    fn open(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }
}

/// A dead letter, opened: what was sent, and why it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenedLetter {
    /// By which it is sent again.
    pub id: String,
    /// The queue that it was sent to.
    pub queue: String,
    /// The text that was sent.
    pub body: String,
    /// Why it was given up; `None` when its handlers ended without a word: a crash, or a time-out.
    pub reason: Option<String>,
    /// How often it was handed out.
    pub attempts: u32,
    pub sent_at: DateTime<Utc>,
    /// When it was given up, where that is known.
    pub died_at: Option<DateTime<Utc>>,
}

impl From<DeadLetter> for OpenedLetter {
    fn from(letter: DeadLetter) -> Self {
        let queue = letter.queue.to_string();
        match Envelope::open(&letter.body) {
            Some(inside) => Self {
                id: letter.id,
                queue,
                body: inside.body,
                reason: Some(inside.reason),
                attempts: inside.attempts,
                sent_at: inside.sent_at,
                died_at: Some(inside.died_at),
            },
            None => Self {
                id: letter.id,
                queue,
                body: letter.body,
                reason: None,
                attempts: letter.receive_count,
                sent_at: letter.sent_at,
                died_at: letter.died_at,
            },
        }
    }
}

/// What is to be done with a message whose handling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Delete it.
    Delete,
    /// Write a letter with this reason, then delete it.
    Bury(String),
    /// Give it back, to come again after this long.
    Release(Duration),
}

/// How a message ends that was handed out `receive_count` times, of at most `max_receives`.
///
/// Its last failure ends it here, where the reason is known. Who says when it is to come again did not fail.
pub fn ending(outcome: Disposition, receive_count: u32, max_receives: u32) -> Ending {
    match outcome {
        Disposition::Done => Ending::Delete,
        Disposition::Reject { reason } => Ending::Bury(reason),
        Disposition::Retry {
            after: None,
            reason,
        } if receive_count >= max_receives => Ending::Bury(reason),
        Disposition::Retry { after, .. } => {
            let doubled = FIRST_RETRY.saturating_mul(1 << receive_count.min(10));
            Ending::Release(after.unwrap_or(doubled.min(MAX_RETRY)))
        }
    }
}

/// Ends a message as its handler says.
pub async fn finish(
    queue: &dyn Queue,
    name: &QueueName,
    message: &Received,
    outcome: Disposition,
) -> Result<(), Error> {
    let receipts = std::slice::from_ref(&message.receipt);
    match ending(outcome, message.receive_count, queue.max_receives(name)) {
        Ending::Delete => queue.delete(name, receipts).await,
        Ending::Bury(reason) => {
            send_letter(queue, name, message, reason).await?;
            queue.delete(name, receipts).await
        }
        Ending::Release(delay) => queue.release(name, &message.receipt, delay).await,
    }
}

/// Writes the letter of a message. The caller deletes the message afterwards; killed in between, there are two letters.
pub async fn send_letter(
    queue: &dyn Queue,
    name: &QueueName,
    message: &Received,
    mut reason: String,
) -> Result<(), Error> {
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    let envelope = Envelope {
        cellmill_dead_letter: 1,
        id: message.id.clone(),
        body: message.body.clone(),
        reason,
        attempts: message.receive_count,
        sent_at: message.sent_at,
        died_at: Utc::now(),
    };
    let mut letter = serde_json::to_string(&envelope).expect("an envelope is text and numbers");
    if letter.len() > MAX_BODY_BYTES {
        // Escapes made it too long: the message itself is worth more than the reason.
        letter.clone_from(&message.body);
    }
    queue
        .send(&name.dead_letters(), &[Outgoing::now(letter)])
        .await
}

/// Up to `max` dead letters of a queue, opened, without taking them.
pub async fn list(
    queue: &dyn Queue,
    name: &QueueName,
    max: usize,
) -> Result<Vec<OpenedLetter>, Error> {
    let letters = queue.dead(name, max).await?;
    Ok(letters.into_iter().map(OpenedLetter::from).collect())
}

/// Sends what dead letters of these ids hold into their queue again, as new messages. Says how many there were.
pub async fn redrive(queue: &dyn Queue, name: &QueueName, ids: &[String]) -> Result<usize, Error> {
    let dead = name.dead_letters();
    let (mut passed, mut count) = (Vec::new(), 0);
    while count < ids.len() {
        let letters = queue.receive(&dead, BATCH, LOOK, Duration::ZERO).await?;
        if letters.is_empty() {
            break;
        }
        let (wanted, other): (Vec<Received>, Vec<Received>) =
            letters.into_iter().partition(|it| ids.contains(&it.id));
        passed.extend(other);
        let messages: Vec<Outgoing> = wanted.iter().map(again).collect();
        queue.send(name, &messages).await?;
        let receipts: Vec<Receipt> = wanted.into_iter().map(|it| it.receipt).collect();
        queue.delete(&dead, &receipts).await?;
        count += receipts.len();
    }
    for letter in &passed {
        queue
            .release(&dead, &letter.receipt, Duration::ZERO)
            .await?;
    }
    Ok(count)
}

fn again(letter: &Received) -> Outgoing {
    let body = Envelope::open(&letter.body).map(|it| it.body);
    Outgoing::now(body.unwrap_or_else(|| letter.body.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_ends_a_message_and_a_wish_to_come_back_does_not() {
        let failed = || Disposition::retry("no answer");
        assert_eq!(
            ending(failed(), 1, 5),
            Ending::Release(Duration::from_secs(1))
        );
        assert_eq!(ending(failed(), 4, 5), Ending::Release(FIRST_RETRY * 16));
        assert_eq!(ending(failed(), 5, 5), Ending::Bury("no answer".to_owned()));
        let asked = Disposition::Retry {
            after: Some(Duration::ZERO),
            reason: "ended".to_owned(),
        };
        assert_eq!(ending(asked, 9, 5), Ending::Release(Duration::ZERO));
        assert_eq!(ending(Disposition::Done, 9, 5), Ending::Delete);
    }
}
