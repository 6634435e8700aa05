//! The one thread that owns the connection.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// How many calls wait for the thread before callers wait to hand theirs in.
const BACKLOG: usize = 64;

/// A handle to the thread; the connection is closed when the handle is dropped.
#[derive(Debug)]
pub(super) struct ConnectionThread(mpsc::Sender<Job>);

/// The thread ended before it answered.
#[derive(Debug, thiserror::Error)]
#[error("the thread of the queue file has ended")]
pub(super) struct Ended;

impl ConnectionThread {
    pub(super) fn start(mut connection: Connection) -> std::io::Result<Self> {
        let (jobs, mut inbox) = mpsc::channel::<Job>(BACKLOG);
        std::thread::Builder::new()
            .name("queue-file".to_owned())
            .spawn(move || {
                while let Some(job) = inbox.blocking_recv() {
                    job(&mut connection);
                }
            })?;
        Ok(Self(jobs))
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that is gone needs no answer.
            let _ = answer.send(work(connection));
        });
        self.0.send(job).await.map_err(|_| Ended)?;
        answered.await.map_err(|_| Ended)
    }
}
