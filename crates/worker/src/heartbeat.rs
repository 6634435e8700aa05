//! Keeping a lease alive, beside the computation and never on its thread.

use std::sync::Arc;

use cellmill_core::checkpoint;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::ObjectKey;
use cellmill_core::unit::UnitRecord;
use cellmill_store::{Fresh, Replaced, Versioned};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::Error;
use crate::claim::Lease;
use crate::context::{Board, StopReason};
use crate::inner::Inner;

/// Beats until there is a reason to stop, and says which.
///
/// It stops by the own monotonic clock when the last good beat *began* too long ago: what the store knows of
/// the lease counts from that write at the earliest, so nobody else can hold the unit before.
pub(crate) async fn keep(worker: Arc<Inner>, lease: &Lease, board: Arc<Board>) -> StopReason {
    let timing = worker.options.timing;
    let pulse = worker.pulse.clone();
    let mut keeper = Keeper {
        key: ObjectKey::Unit(lease.key.clone()),
        job_key: ObjectKey::job(lease.key.kind, &lease.key.dir),
        attempt: lease.attempt(),
        round: lease.record.value.round,
        known: lease.record.clone(),
        job_etag: String::new(),
        is_preemptible: lease.is_preemptible(),
        is_urgent: lease.job.wishes.urgent,
        dropped: Vec::new(),
        has_new_checkpoint: false,
        looking: None,
        worker,
        board,
    };
    let mut last_good = lease.began;
    let mut pause = timing.heartbeat();
    loop {
        let deadline = last_good + timing.self_stop();
        sleep_until((Instant::now() + pause).min(deadline)).await;
        let began = Instant::now();
        match timeout_at(deadline, keeper.beat()).await {
            Ok(Ok(None)) => {
                last_good = began;
                pulse.beat();
                if let Ok(Some(reason)) =
                    timeout(timing.heartbeat() / RETRIES_IN_A_BEAT, keeper.afterwards()).await
                {
                    return reason;
                }
                pause = timing.heartbeat().saturating_sub(began.elapsed());
            }
            Ok(Ok(Some(reason))) => return reason,
            Ok(Err(error)) => {
                tracing::warn!(unit = %lease.key, error = cellmill_service::report(&error), "heartbeat did not work");
                pause = timing.heartbeat() / RETRIES_IN_A_BEAT;
            }
            Err(_) => {}
        }
        if Instant::now() >= last_good + timing.self_stop() {
            tracing::warn!(unit = %lease.key, silent_ms = last_good.elapsed().as_millis() as u64, "lease given up: no heartbeat worked");
            return StopReason::LeaseLost;
        }
    }
}

/// A beat that failed is tried again after a fifth of the pause: 3 s of 15, so eight times before the end.
const RETRIES_IN_A_BEAT: u32 = 5;

struct Keeper {
    worker: Arc<Inner>,
    board: Arc<Board>,
    key: ObjectKey,
    job_key: ObjectKey,
    attempt: u32,
    round: u32,
    /// The unit as it was last read or written.
    known: Versioned<UnitRecord>,
    /// Of the job as it was last read.
    job_etag: String,
    is_preemptible: bool,
    /// Is its own job urgent?
    is_urgent: bool,
    /// Keys of checkpoints that the record does not name any more.
    dropped: Vec<String>,
    /// Has the last beat named a checkpoint for the first time?
    has_new_checkpoint: bool,
    /// The look for urgent work, while it takes its time.
    looking: Option<JoinHandle<Result<bool, Error>>>,
}

impl Keeper {
    /// One beat: the job is read first, then one swap carries the progress.
    async fn beat(&mut self) -> Result<Option<StopReason>, Error> {
        if let Some(reason) = self.look_at_job().await? {
            return Ok(Some(reason));
        }
        let progress = self.board.progress().clone();
        loop {
            let id = &self.worker.options.id;
            let Ok(next) = self.known.value.beat(id, self.attempt, &progress) else {
                return Ok(Some(StopReason::LeaseLost));
            };
            let replaced = self
                .worker
                .store
                .replace(&self.key, &self.known, next)
                .await;
            match replaced.map_err(Error::store("write a heartbeat"))? {
                Replaced::Won(record) => {
                    self.note_checkpoints(&record.value);
                    self.known = record;
                    return Ok(None);
                }
                // Somebody else wrote: when it is still our attempt, merge and go on.
                Replaced::Lost(Some(record)) => self.known = record,
                Replaced::Lost(None) => return Ok(Some(StopReason::LeaseLost)),
            }
        }
    }

    fn note_checkpoints(&mut self, written: &UnitRecord) {
        let (before, now) = (&self.known.value.checkpoints, &written.checkpoints);
        let unnamed = before.iter().filter(|it| !now.contains(it));
        self.dropped.extend(unnamed.map(|it| it.key.clone()));
        self.has_new_checkpoint = now.last().is_some_and(|it| !before.contains(it));
    }

    /// What can wait until the beat is done: old checkpoints are cleared away, urgent work is looked for. When this takes
    /// too long it is dropped, and nothing is lost.
    async fn afterwards(&mut self) -> Option<StopReason> {
        // A record that was written without them never names them again, whoever holds the unit.
        while let Some(key) = self.dropped.last() {
            if checkpoint::is_of(&self.known.value.key, key)
                && let Err(error) = self.worker.store.delete(key).await
            {
                tracing::warn!(
                    key,
                    error = cellmill_service::report(&error),
                    "old checkpoint not deleted"
                );
            }
            self.dropped.pop();
        }
        // Only now nothing is lost when the unit goes back.
        if std::mem::take(&mut self.has_new_checkpoint) && self.is_preemptible && !self.is_urgent {
            let worker = Arc::clone(&self.worker);
            // A task of its own: a claim that was begun is finished, whatever becomes of the waiting for it.
            self.looking
                .get_or_insert_with(|| tokio::spawn(async move { worker.claim_urgent().await }));
        }
        let found = self.looking.as_mut()?.await;
        self.looking = None;
        match found {
            Ok(Ok(true)) => Some(StopReason::Preempted),
            // Another slot of this worker met its hint, and leaves the device to it.
            Ok(Ok(false)) if self.worker.is_device_called() => Some(StopReason::Preempted),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = cellmill_service::report(&error),
                    "urgent work not looked for"
                );
                None
            }
            Ok(Ok(false)) | Err(_) => None,
        }
    }

    async fn look_at_job(&mut self) -> Result<Option<StopReason>, Error> {
        let store = &self.worker.store;
        let read = store
            .read_if_changed::<JobRecord>(&self.job_key, &self.job_etag)
            .await;
        match read.map_err(Error::store("read the job of a unit"))? {
            Fresh::NotModified => Ok(None),
            Fresh::Absent => Ok(Some(StopReason::Cancelled)),
            Fresh::Changed(job) => {
                if let Some(reason) = reason_to_stop(&job.value, self.round) {
                    return Ok(Some(reason));
                }
                if job.value.wishes.stop {
                    self.board.finish();
                }
                self.is_urgent = job.value.wishes.urgent;
                self.worker.say_running(&job.value).await;
                self.job_etag = job.etag;
                Ok(None)
            }
        }
    }
}

/// Is a unit that was claimed in `round` not wanted any more?
pub(crate) fn reason_to_stop(job: &JobRecord, round: u32) -> Option<StopReason> {
    match job.state {
        JobState::Queued | JobState::Running if job.wishes.cancel => Some(StopReason::Cancelled),
        JobState::Queued | JobState::Running if job.round != round => Some(StopReason::Superseded),
        JobState::Queued | JobState::Running => None,
        // Collecting too: then every unit has ended without this attempt.
        JobState::Assembling
        | JobState::Collecting
        | JobState::Done
        | JobState::Failed
        | JobState::Cancelled => Some(StopReason::Cancelled),
    }
}
