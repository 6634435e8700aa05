//! The processes of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cellmill_tests::show::process::Program;
use cellmill_tests::show::wait::wait_until;

use super::{JOBS, SETTINGS};
use crate::programs::{Server, Worker};
use crate::records::{has_ended, job_path, read};

/// A run, as those see it that disturb it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) root: PathBuf,
    program: Program,
    /// `None` while it is down. Held as long as it is asked, started or ended.
    pub(super) server: tokio::sync::Mutex<Option<Server>>,
    hands: Mutex<BTreeMap<u32, Hand>>,
    n_started: AtomicUsize,
}

/// A worker.
#[derive(Debug)]
struct Hand {
    worker: Worker,
    is_frozen: bool,
}

impl Stage {
    pub(super) fn new(root: &Path, program: &Program) -> Self {
        Self {
            root: root.to_owned(),
            program: program.clone(),
            server: tokio::sync::Mutex::new(None),
            hands: Mutex::default(),
            n_started: AtomicUsize::new(0),
        }
    }

    /// A name that no log has yet.
    fn next_name(&self, role: &str) -> String {
        format!("{role}-{}", self.n_started.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn new_server(&self) -> Result<Server> {
        let name = self.next_name("up");
        Server::start(&self.program, &self.root, &name, &SETTINGS).await
    }

    pub(super) fn start_worker(&self) -> Result<()> {
        let name = self.next_name("worker");
        let worker = Worker::start(&self.root, &name, &["--kinds", "data"], &SETTINGS)?;
        let hand = Hand {
            worker,
            is_frozen: false,
        };
        self.hands().insert(hand.worker.process.id(), hand);
        Ok(())
    }

    fn hands(&self) -> MutexGuard<'_, BTreeMap<u32, Hand>> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is this the process of a worker that can work?
    pub(super) fn is_at_work(&self, id: u32) -> bool {
        self.hands().get(&id).is_some_and(|it| !it.is_frozen)
    }

    /// Could others do the work without this one?
    pub(super) fn has_others(&self, id: u32) -> bool {
        let hands = self.hands();
        hands
            .iter()
            .any(|(other, it)| *other != id && !it.is_frozen)
    }

    pub(super) fn mark_frozen(&self, id: u32, is_frozen: bool) {
        if let Some(hand) = self.hands().get_mut(&id) {
            hand.is_frozen = is_frozen;
        }
    }

    /// `kill -9`.
    pub(super) fn kill_worker(&self, id: u32) -> Result<()> {
        let hand = self.hands().remove(&id);
        hand.context("there is no such worker")?
            .worker
            .process
            .kill()
    }

    /// Have all jobs ended?
    pub(super) fn is_over(&self) -> Result<bool> {
        for dir in JOBS {
            let job = read(&job_path(&self.root, "data", dir))?;
            if !job.is_some_and(|it| has_ended(&it)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn until_over(&self, limit: Duration) -> Result<()> {
        let pause = Duration::from_millis(50);
        wait_until("all jobs have ended", limit, pause, async || {
            Ok(self.is_over()?.then_some(()))
        })
        .await
    }

    /// Ends everything, as a service manager does.
    pub(super) async fn close(&self) -> Result<()> {
        let hands = std::mem::take(&mut *self.hands());
        futures::future::try_join_all(hands.into_values().map(|it| it.worker.stop())).await?;
        let server = self.server.lock().await.take();
        server.context("the server is up")?.stop().await
    }
}
