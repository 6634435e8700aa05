//! The limits that hold in every home, so that what works in one works in all.

use std::time::Duration;

use crate::{Error, Outgoing, QueueName};

/// The largest body. SQS took 256 KiB for all its years before it took more, and its emulators still stop there.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// The longest delay of a new message: the limit of SQS's `DelaySeconds`.
pub const MAX_DELAY: Duration = Duration::from_mins(15);

/// The longest time a message can stay hidden: the limit of SQS's `VisibilityTimeout`.
pub const MAX_VISIBILITY: Duration = Duration::from_hours(12);

pub(crate) fn check_messages(queue: &QueueName, messages: &[Outgoing]) -> Result<(), Error> {
    let broken = |rule: String| Error::Message {
        queue: queue.clone(),
        rule,
    };
    for message in messages {
        if message.body.is_empty() {
            return Err(broken("an empty body".to_owned()));
        }
        if message.body.len() > MAX_BODY_BYTES {
            return Err(broken(format!(
                "a body of {} bytes, the limit is {MAX_BODY_BYTES}",
                message.body.len()
            )));
        }
        if message.delay > MAX_DELAY {
            return Err(broken(format!(
                "a delay of {:?}, the limit is {MAX_DELAY:?}",
                message.delay
            )));
        }
    }
    Ok(())
}

pub(crate) fn check_visibility(queue: &QueueName, visibility: Duration) -> Result<(), Error> {
    if visibility <= MAX_VISIBILITY {
        Ok(())
    } else {
        Err(Error::Visibility {
            queue: queue.clone(),
            visibility,
        })
    }
}
