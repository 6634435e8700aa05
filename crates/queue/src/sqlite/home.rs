//! The trait over the file.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::time::Instant;

use super::file;
use super::statements::{self, HandOut, NewMessage};
use super::thread::ConnectionThread;
use crate::bell::Bell;
use crate::handle::Handle;
use crate::limits::{check_messages, check_visibility};
use crate::{DeadLetter, Depth, Error, Outgoing, Queue, QueueName, Receipt, Received, Settings};

/// Queues in one `SQLite` file on a local disk, shared by any number of processes of one machine.
///
/// What a call said `Ok` to outlives `kill -9` of every process. Times are the system's clock, because the
/// processes share nothing else.
#[derive(Debug)]
pub struct SqliteQueue {
    path: PathBuf,
    settings: Settings,
    thread: ConnectionThread,
    bell: Bell,
}

impl SqliteQueue {
    /// Opens the file and makes it when it is missing; its folder must exist. Blocks for the short time that
    /// takes: call it at start.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, Error> {
        let connection = file::open(path, settings.busy_timeout)?;
        let thread = ConnectionThread::start(connection).map_err(|source| Error::Open {
            path: path.to_owned(),
            source: source.into(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            settings,
            thread,
            bell: Bell::default(),
        })
    }

    async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        match self.thread.call(work).await {
            Ok(result) => result.map_err(|it| file::error(&self.path, action, it)),
            Err(ended) => {
                let home = self.path.display().to_string();
                Err(Error::Unavailable {
                    home,
                    action,
                    source: ended.into(),
                })
            }
        }
    }

    async fn hand_out(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>, Error> {
        let (queue, max_receives) = (queue.clone(), self.settings.max_receives(queue));
        self.call("receive", move |connection| {
            let now = now_millis();
            let hidden_until = now + millis(visibility).max(1);
            statements::receive(
                connection,
                &queue,
                &HandOut {
                    max,
                    max_receives,
                    now,
                    hidden_until,
                },
            )
        })
        .await
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Result<(), Error> {
        check_messages(queue, messages)?;
        let now = now_millis();
        let messages: Vec<_> = messages
            .iter()
            .map(|it| NewMessage {
                body: it.body.clone(),
                visible_at: now + millis(it.delay),
            })
            .collect();
        let name = queue.clone();
        self.call("send", move |connection| {
            statements::send(connection, &name, &messages, now)
        })
        .await?;
        self.bell.ring(queue);
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
        loop {
            let received = self.hand_out(queue, max, visibility).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !received.is_empty() || max == 0 || left.is_zero() {
                return Ok(received);
            }
            self.wait_for_any(std::slice::from_ref(queue), left).await?;
        }
    }

    async fn wait_for_any(&self, queues: &[QueueName], wait: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + wait;
        loop {
            let listener = self.bell.listen(queues);
            let names = queues.to_vec();
            let look = move |connection: &mut Connection| {
                statements::has_visible(connection, &names, now_millis())
            };
            let found = self.call("look for messages", look).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if found || left.is_zero() {
                return Ok(());
            }
            // The bell does not ring for other processes, nor when a delay is over.
            listener.heard(left.min(self.settings.poll)).await;
        }
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<(), Error> {
        let handles = Handle::parse_all(queue, receipts)?;
        let queue = queue.clone();
        self.call("delete", move |connection| {
            statements::delete(connection, &queue, &handles)
        })
        .await
    }

    async fn release(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        delay: Duration,
    ) -> Result<(), Error> {
        check_visibility(queue, delay)?;
        let handle = Handle::parse(queue, receipt)?;
        let visible_at = now_millis() + millis(delay);
        let name = queue.clone();
        self.call("release", move |connection| {
            statements::release(connection, &name, handle, visible_at)
        })
        .await?;
        self.bell.ring(queue);
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, Error> {
        let queue = queue.clone();
        self.call("count", move |connection| {
            statements::depth(connection, &queue, now_millis())
        })
        .await
    }

    async fn dead(&self, queue: &QueueName, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let queue = queue.clone();
        self.call("show dead letters", move |connection| {
            statements::dead(connection, &queue, max)
        })
        .await
    }

    fn max_receives(&self, queue: &QueueName) -> u32 {
        self.settings.max_receives(queue)
    }

    async fn purge(&self, queue: &QueueName) -> Result<(), Error> {
        let queue = queue.clone();
        self.call("purge", move |connection| {
            statements::purge(connection, &queue)
        })
        .await
    }
}

fn now_millis() -> i64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
