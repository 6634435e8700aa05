//! What an algorithm may do while it works on a unit.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cellmill_core::checkpoint::{self, Checkpoint};
use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::{ObjectKey, UnitKey};
use cellmill_core::timing::Timing;
use cellmill_core::unit::{Output, Progress, RejectedInput};
use cellmill_store::{Put, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::log::{Level, UnitLog};
use crate::{Eta, Failure, Unit};

/// An algorithm's view of the world while it works on one unit.
#[derive(Debug)]
pub struct Context {
    store: Store,
    unit: UnitKey,
    attempt: u32,
    board: Arc<Board>,
    started: Instant,
    eta: Eta,
    checkpoints: Checkpoints,
}

/// What an attempt knows of the checkpoints of its unit.
#[derive(Debug)]
struct Checkpoints {
    /// Those that are kept, oldest first.
    kept: Vec<Checkpoint>,
    /// How many this attempt has written.
    n_written: u32,
    /// When the last of them, or the attempt, began.
    last: Instant,
    /// How long writing the last one took.
    cost: Duration,
    /// The shortest time between two: only a heartbeat names them.
    heartbeat: Duration,
}

/// Writing checkpoints takes about one part in this many of the time, at most.
const CHECKPOINT_SHARE: u32 = 20;

impl Context {
    /// A context that nobody supervises: for trying an algorithm without a loop around it.
    pub fn unsupervised(store: Store, unit: &Unit) -> Self {
        Self::new(store, unit, Arc::default(), Timing::default())
    }

    /// The same, where heartbeats come at the pace of this lease.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.checkpoints.heartbeat = timing.heartbeat();
        self
    }

    /// What the next heartbeat says.
    pub fn progress(&self) -> Progress {
        self.board.progress().clone()
    }

    pub(crate) fn new(store: Store, unit: &Unit, board: Arc<Board>, timing: Timing) -> Self {
        let started = Instant::now();
        Self {
            store,
            unit: unit.key.clone(),
            attempt: unit.attempt,
            board,
            started,
            eta: Eta::default(),
            checkpoints: Checkpoints {
                kept: unit.checkpoints.clone(),
                n_written: 0,
                last: started,
                cost: Duration::ZERO,
                heartbeat: timing.heartbeat(),
            },
        }
    }

    /// For reading inputs. What a unit writes goes through the methods below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes an output of this attempt under its own folder. `name` is its role, such as `rows`; it counts
    /// only when the outcome names it.
    pub async fn write_output(
        &self,
        name: &str,
        file: &str,
        bytes: impl Into<Bytes> + Send,
    ) -> Result<Output, Failure> {
        let key = ObjectKey::UnitOutput {
            unit: self.unit.clone(),
            attempt: self.attempt,
            file: file.to_owned(),
        };
        self.write(name, &key, bytes.into(), Put::Overwrite).await
    }

    /// Writes an output whose key names its content, such as a pack. Another attempt may have written the
    /// same bytes before.
    pub async fn write_shared(
        &self,
        name: &str,
        key: &ObjectKey,
        bytes: impl Into<Bytes> + Send,
    ) -> Result<Output, Failure> {
        self.write(name, key, bytes.into(), Put::IfSame).await
    }

    /// Writes something that any unit may write again from the same input, such as a loose cell. It replaces
    /// what is there and belongs to no outcome.
    pub async fn write_cached(
        &self,
        key: &ObjectKey,
        bytes: impl Into<Bytes> + Send,
    ) -> Result<(), Failure> {
        self.write("", key, bytes.into(), Put::Overwrite).await?;
        Ok(())
    }

    async fn write(
        &self,
        name: &str,
        key: &ObjectKey,
        bytes: Bytes,
        put: Put,
    ) -> Result<Output, Failure> {
        let output = output_of(name, key, &bytes);
        let written = self.store.put_bytes(key, bytes, put).await;
        written.map_err(|error| Failure::of_store(format!("could not write `{key}`"), error))?;
        Ok(output)
    }

    /// Reports how far the unit came (0 to 100) and what it does now. The time that is left is estimated
    /// from the pace. Cheap: the next heartbeat carries it.
    pub fn report(&mut self, percent: f64, step: &str) {
        let elapsed = self.started.elapsed();
        self.eta.reached(percent / 100.0, elapsed);
        let mut progress = self.board.progress();
        progress.percent = progress.percent.max(percent.clamp(0.0, 99.0) as u8);
        progress.eta_s = self
            .eta
            .remaining(elapsed)
            .map(|it| it.as_secs_f64().ceil() as u64);
        step.clone_into(&mut progress.step);
    }

    /// Says how long it still takes, for algorithms that know better than the pace tells. After
    /// [`report`](Self::report), which sets its own guess.
    pub fn report_eta(&mut self, eta_s: u64) {
        self.board.progress().eta_s = Some(eta_s);
    }

    /// Is it time for a checkpoint? A heartbeat after the last one, or later where writing one takes long.
    pub fn is_checkpoint_due(&self) -> bool {
        let it = &self.checkpoints;
        it.last.elapsed() >= it.heartbeat.max(it.cost * CHECKPOINT_SHARE)
    }

    /// Leaves a checkpoint: `bytes` from which a later attempt can go on, at the percent that was reported last.
    /// `is_best`: nothing before it was as good. It counts once a heartbeat has named it. The last two and the best are
    /// kept; the next heartbeats clear the others away.
    pub async fn write_checkpoint(
        &mut self,
        name: &str,
        bytes: impl Into<Bytes> + Send,
        is_best: bool,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        self.checkpoints.n_written += 1;
        let file = checkpoint::file_name(self.checkpoints.n_written, name);
        let written = self.write_output("checkpoint", &file, bytes).await?;
        let percent = self.board.progress().percent;
        self.checkpoints.kept.push(Checkpoint {
            key: written.key,
            sha256: written.sha256,
            percent,
            is_best,
        });
        self.checkpoints.kept = checkpoint::kept(&self.checkpoints.kept);
        self.name_checkpoints();
        self.checkpoints.last = begun;
        self.checkpoints.cost = begun.elapsed();
        Ok(())
    }

    /// The newest checkpoint that is left, and its bytes. One that can't be used is [dropped](Self::drop_checkpoint), and
    /// the one before it is tried.
    pub async fn newest_checkpoint(&mut self) -> Result<Option<(Checkpoint, Bytes)>, Failure> {
        while let Some(newest) = self.checkpoints.kept.last().cloned() {
            let read = self.store.get_bytes(&newest.key).await;
            match read {
                Ok(bytes) if sha256_hex(&bytes) == newest.sha256 => {
                    return Ok(Some((newest, bytes)));
                }
                Ok(_) => self.drop_checkpoint(&newest, "its bytes are not those that were written"),
                Err(cellmill_store::Error::NotFound { .. }) => {
                    self.drop_checkpoint(&newest, "it is not there");
                }
                Err(error) => {
                    let what = format!("could not read `{}`", newest.key);
                    return Err(Failure::of_store(what, error));
                }
            }
        }
        Ok(None)
    }

    /// A checkpoint can't be used, for this reason: nobody shall try again.
    pub fn drop_checkpoint(&mut self, unusable: &Checkpoint, why: &str) {
        self.warn(&format!("checkpoint `{}` dropped: {why}", unusable.key));
        self.checkpoints.kept.retain(|it| it != unusable);
        self.name_checkpoints();
    }

    fn name_checkpoints(&self) {
        self.board.progress().checkpoints = Some(self.checkpoints.kept.clone());
    }

    /// This attempt goes on from a checkpoint: people are told from where.
    pub fn resumed_from(&mut self, checkpoint: &Checkpoint) {
        let percent = checkpoint.percent;
        self.info(&format!(
            "attempt {} goes on at {percent} % from `{}`",
            self.attempt, checkpoint.key
        ));
        self.eta = Eta::resumed_at(f64::from(percent) / 100.0);
        let mut progress = self.board.progress();
        progress.percent = progress.percent.max(percent);
        progress.resumed_percent = Some(percent);
    }

    /// Writes a line into the unit's log.
    pub fn info(&self, text: &str) {
        self.board.log(&self.store, Level::Info, text);
    }

    /// Writes a warning into the unit's log.
    pub fn warn(&self, text: &str) {
        self.board.log(&self.store, Level::Warning, text);
    }

    /// Leaves an input out, with a code for programs and a reason for people. It fails no unit.
    pub fn rejected(&self, key: impl Into<String>, code: &str, reason: impl Into<String>) {
        let rejected = RejectedInput {
            key: key.into(),
            code: code.to_owned(),
            reason: reason.into(),
        };
        self.warn(&format!(
            "left out `{}`: {}: {}",
            rejected.key, rejected.code, rejected.reason
        ));
        self.board.rejected().push(rejected);
    }

    /// The inputs that were left out so far.
    pub fn rejected_inputs(&self) -> Vec<RejectedInput> {
        self.board.rejected().clone()
    }

    /// Is the result not wanted any more (cancelled, lost, or the process ends)?
    pub fn should_stop(&self) -> bool {
        self.board.stop.is_cancelled()
    }

    /// Is the best so far wanted, now? Then a training ends with it, or with [`Failure::NothingToKeep`].
    pub fn should_finish(&self) -> bool {
        self.board.finish.is_cancelled()
    }

    /// Does the unit go back because the process ends? Then a checkpoint that is written at once still counts.
    pub fn is_handed_back(&self) -> bool {
        self.board.stop_reason() == Some(StopReason::Shutdown)
    }

    /// [`Failure::Stopped`] when the algorithm should stop, to use with `?`.
    pub fn check_stop(&self) -> Result<(), Failure> {
        self.stop_signal().check()
    }

    /// A handle for threads that compute for this unit.
    pub fn stop_signal(&self) -> StopSignal {
        StopSignal(self.board.stop.clone())
    }
}

/// Tells threads of an algorithm whether to stop.
#[derive(Clone, Debug)]
pub struct StopSignal(CancellationToken);

impl StopSignal {
    /// As [`Context::should_stop`].
    pub fn should_stop(&self) -> bool {
        self.0.is_cancelled()
    }

    /// As [`Context::check_stop`].
    pub fn check(&self) -> Result<(), Failure> {
        if self.should_stop() {
            Err(Failure::Stopped)
        } else {
            Ok(())
        }
    }
}

/// What an object at `key` with these bytes is, as a commit names it.
pub(crate) fn output_of(name: &str, key: &ObjectKey, bytes: &[u8]) -> Output {
    Output {
        name: name.to_owned(),
        key: key.to_path(),
        bytes: bytes.len() as u64,
        sha256: sha256_hex(bytes),
    }
}

/// Why a unit is stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The job ended, or somebody wished so.
    Cancelled,
    /// The job is in a later round than this claim.
    Superseded,
    /// Somebody else holds the unit, or nobody can know.
    LeaseLost,
    /// Urgent work goes first.
    Preempted,
    /// The process ends.
    Shutdown,
}

/// What the computation and its supervision tell each other. It outlives a panic of the algorithm.
#[derive(Debug, Default)]
pub(crate) struct Board {
    progress: Mutex<Progress>,
    log: Mutex<UnitLog>,
    rejected: Mutex<Vec<RejectedInput>>,
    stop: CancellationToken,
    reason: OnceLock<StopReason>,
    finish: CancellationToken,
}

impl Board {
    /// Asks the algorithm to stop. The first reason stays.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.reason.get_or_init(|| reason);
        self.stop.cancel();
    }

    /// Asks the algorithm to end with the best so far.
    pub(crate) fn finish(&self) {
        self.finish.cancel();
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    pub(crate) fn rejected(&self) -> MutexGuard<'_, Vec<RejectedInput>> {
        lock(&self.rejected)
    }

    pub(crate) fn log(&self, store: &Store, level: Level, text: &str) {
        lock(&self.log).push(store.now(), level, text);
    }

    /// The log so far; what comes later is not in it.
    pub(crate) fn take_log(&self, store: &Store) -> String {
        std::mem::take(&mut *lock(&self.log)).finish(store.now())
    }
}

/// A panic while one of these locks is held can leave at most half a line behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
