//! What can go wrong, told apart by what the caller does about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::QueueName;
use crate::limits::MAX_VISIBILITY;

/// Why a queue did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name can be no queue.
    #[error("queue name `{name}` is not 1 to 75 of a-z, 0-9 and -")]
    Name {
        /// The name as given.
        name: String,
    },
    /// A message breaks a limit that every home has. None of its call was sent.
    #[error("a message for queue `{queue}` has {rule}")]
    Message {
        /// Where it was to go.
        queue: QueueName,
        /// What is wrong, with the limit.
        rule: String,
    },
    /// A message was to be hidden for longer than any home can.
    #[error(
        "messages of queue `{queue}` were to be hidden for {visibility:?}, the limit is {MAX_VISIBILITY:?}"
    )]
    Visibility {
        /// The queue.
        queue: QueueName,
        /// The time asked for.
        visibility: Duration,
    },
    /// The receipt was not given by this home.
    #[error("receipt `{receipt}` was not given by queue `{queue}`")]
    Receipt {
        /// The queue asked.
        queue: QueueName,
        /// The receipt's text.
        receipt: String,
    },
    /// The URL names no home.
    #[error(
        "queue url `{url}` is not one of `sqlite:///folder/file`, `sqs://prefix` and `memory://`"
    )]
    Url {
        /// The URL as given.
        url: String,
    },
    /// The URL names a home that this program was built without.
    #[error(
        "queue url `{url}` names a home that this program was built without\nhint: functions take `sqs://prefix`; a \
         queue file is for `cellmill` and `worker-gpu`"
    )]
    LeftOut {
        /// The URL as given.
        url: String,
    },
    /// SQS has no such queue.
    #[error(
        "queue `{full_name}` does not exist\nhint: deploy the template of infra/, and name its prefix in the queue url"
    )]
    Missing {
        /// Ours.
        queue: QueueName,
        /// Its name in SQS.
        full_name: String,
    },
    /// The file can't be opened for writing.
    #[error(
        "queue file `{}` cannot be opened for writing\nhint: check that its folder exists and may be written",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is no sound queue file any more.
    #[error(
        "queue file `{}` is damaged\nhint: stop every cellmill process, move the file and its -wal and -shm away, \
         start again: lost messages are sent anew from the documents",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is a database of something else, or of a newer Cellmill.
    #[error(
        "queue file `{}` is {found}, expected a queue file of format {expected}\nhint: name another file",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// The format that this version reads and writes.
        expected: i64,
    },
    /// The home did not answer as it should. The same call may succeed later; whether it took effect is open.
    #[error("queue home `{home}` could not {action}")]
    Unavailable {
        /// The home: a file or URL.
        home: String,
        /// What was asked of it.
        action: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Name { .. }
            | Self::Message { .. }
            | Self::Visibility { .. }
            | Self::Receipt { .. }
            | Self::Url { .. }
            | Self::LeftOut { .. }
            | Self::Missing { .. }
            | Self::Open { .. }
            | Self::Damaged { .. }
            | Self::Foreign { .. } => false,
        }
    }
}
