//! Queues of hints: one trait, several homes, one suite that every home passes.
//!
//! A message says "look here"; the documents of the store say what is so. Losing a message costs time, never
//! data, and handling one twice changes nothing. To a home a body is text; [`hints`] writes those of jobs.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
//! use std::time::Duration;
//! use cellmill_queue::{Outgoing, QueueName, Settings, open};
//!
//! const UPLOADS: QueueName = QueueName::from_static("uploads");
//! let queue = open("memory://", Settings::default())?;
//! queue.send(&UPLOADS, &[Outgoing::now("look at img/a.jpg")]).await?;
//! for message in queue.receive(&UPLOADS, 10, Duration::from_mins(1), Duration::ZERO).await? {
//!     // Do the work, write its result, and only then delete.
//!     queue.delete(&UPLOADS, &[message.receipt]).await?;
//! }
//! # Ok::<(), cellmill_queue::Error>(())
//! # }).expect("the example works");
//! ```

mod bell;
mod error;
mod handle;
pub mod hints;
pub mod letters;
mod limits;
mod memory;
mod message;
mod name;
mod priority;
mod queue;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "aws")]
mod sqs;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod url;

pub use error::Error;
pub use limits::{MAX_BODY_BYTES, MAX_DELAY, MAX_VISIBILITY};
pub use memory::MemoryQueue;
pub use message::{DeadLetter, Depth, Outgoing, Receipt, Received};
pub use name::QueueName;
pub use queue::Queue;
pub use settings::Settings;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteQueue;
#[cfg(feature = "aws")]
pub use sqs::SqsQueue;
pub use url::open;
