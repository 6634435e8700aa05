//! One unit from its lease to its end.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use cellmill_core::job::{JobEvent, JobRecord};
use cellmill_core::keys::ObjectKey;
use cellmill_core::messages::UnitHint;
use cellmill_core::unit::{HandedBack, LeaseLost, Output, UnitRecord, UnitState};
use cellmill_queue::{Outgoing, QueueName};
use cellmill_store::{Decision, Put};
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::claim::Lease;
use crate::context::{Board, StopReason, output_of};
use crate::heartbeat::{keep, reason_to_stop};
use crate::inner::Inner;
use crate::log::Level;
use crate::{Context, Error, Failure, Outcome, Unit};

/// How the work on a unit ended, before anything was written about it.
#[derive(Debug)]
enum End {
    Finished(Outcome),
    Failed {
        error: String,
        is_permanent: bool,
    },
    Stopped(StopReason),
    /// A person wanted the best so far, and there was nothing.
    NothingToKeep,
}

/// A unit whose algorithm runs.
struct Running {
    board: Arc<Board>,
    work: JoinHandle<Result<Outcome, Failure>>,
    keeper: JoinHandle<StopReason>,
    /// Drops the algorithm at its next await.
    dropped: CancellationToken,
}

/// A task that is not to outlive its owner.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// Works on a unit and writes how it ended. Returns when the algorithm's thread is free again, or at
    /// shutdown when it does not come free.
    pub(crate) async fn run_unit(self: &Arc<Self>, lease: Lease, shutdown: &CancellationToken) {
        let _shown = self.working_on(&lease.key);
        let lease = Arc::new(lease);
        if shutdown.is_cancelled() {
            return self
                .settle(
                    &lease,
                    End::Stopped(StopReason::Shutdown),
                    &Board::default(),
                )
                .await;
        }
        tracing::info!(unit = %lease.key, attempt = lease.attempt(), "unit started");
        let mut running = self.start(&lease);
        let keeper = AbortOnDrop(running.keeper.abort_handle());
        let (end, is_over) = supervise(&mut running, shutdown, self.options.grace).await;
        drop(keeper);
        tracing::info!(unit = %lease.key, attempt = lease.attempt(), end = end.as_str(), "unit ended");
        self.settle(&lease, end, &running.board).await;
        if !is_over {
            tokio::select! {
                biased;
                _ = &mut running.work => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    fn start(self: &Arc<Self>, lease: &Arc<Lease>) -> Running {
        let board = Arc::new(Board::default());
        let unit = Unit {
            key: lease.key.clone(),
            attempt: lease.attempt(),
            job: lease.job.clone(),
            checkpoints: lease.record.value.checkpoints.clone(),
        };
        if lease.job.wishes.stop {
            board.finish();
        }
        let algorithm = Arc::clone(&self.algorithms[&lease.key.kind]);
        let mut context = Context::new(
            self.store.clone(),
            &unit,
            Arc::clone(&board),
            self.options.timing,
        );
        context.info(&format!(
            "unit `{}` attempt {} on {}",
            unit.key, unit.attempt, self.options.id
        ));
        let dropped = CancellationToken::new();
        let (runtime, until) = (tokio::runtime::Handle::current(), dropped.clone());
        let needs_thread = algorithm.computes();
        let run = async move {
            let run = algorithm.run(&unit, &mut context);
            let ended = until.run_until_cancelled(run).await;
            ended.unwrap_or(Err(Failure::Stopped))
        };
        let work = if needs_thread {
            // An algorithm computes between its awaits, and the heartbeat must go on.
            tokio::task::spawn_blocking(move || runtime.block_on(run))
        } else {
            tokio::spawn(run)
        };
        let (worker, kept, seen) = (Arc::clone(self), Arc::clone(lease), Arc::clone(&board));
        let keeper = tokio::spawn(async move { keep(worker, &kept, seen).await });
        Running {
            board,
            work,
            keeper,
            dropped,
        }
    }

    /// Writes how the unit ended and sends what follows from it. Tried again as long as the lease may last;
    /// after that somebody else takes the unit over.
    async fn settle(&self, lease: &Lease, end: End, board: &Board) {
        match &end {
            End::Stopped(StopReason::LeaseLost) => return,
            End::Failed { error, .. } => board.log(&self.store, Level::Error, error),
            End::Stopped(reason) => board.log(&self.store, Level::Warning, reason.as_str()),
            End::Finished(_) => board.log(&self.store, Level::Info, "done"),
            End::NothingToKeep => board.log(&self.store, Level::Warning, end.as_str()),
        }
        let log = board.take_log(&self.store);
        let limit = Instant::now() + self.options.timing.self_stop();
        let mut pause = Duration::from_millis(100);
        loop {
            let Err(error) = self.try_settle(lease, &end, board, &log).await else {
                return;
            };
            tracing::warn!(unit = %lease.key, error = cellmill_service::report(&error), "end of a unit not written");
            if Instant::now() + pause > limit {
                tracing::error!(unit = %lease.key, "end of a unit given up, its lease runs out");
                return;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn try_settle(
        &self,
        lease: &Lease,
        end: &End,
        board: &Board,
        log: &str,
    ) -> Result<(), Error> {
        let log = self.write_log(lease, log).await?;
        if matches!(end, End::NothingToKeep) {
            self.cancel_job(lease).await?;
        }
        let job = self.store.read_job(lease.key.kind, &lease.key.dir).await;
        let job = job
            .map_err(Error::store("read the job of a unit"))?
            .map(|it| it.value);
        let round = lease.record.value.round;
        // Read as late as can be: a job whose cancel was acknowledged gets no commit that was still to come.
        let overruled = job
            .as_ref()
            .map_or(Some(StopReason::Cancelled), |it| reason_to_stop(it, round));
        let (id, attempt, now) = (&self.options.id, lease.attempt(), self.store.now());
        let overruled = overruled.map(End::Stopped);
        let stored = match overruled.as_ref().unwrap_or(end) {
            End::Finished(outcome) => {
                let outputs: Vec<Output> = outcome.outputs.iter().cloned().chain([log]).collect();
                let rejected = board.rejected().clone();
                let commit = |unit: &UnitRecord| {
                    unit.commit(id, attempt, outputs.clone(), rejected.clone(), now)
                };
                self.change_unit(lease, commit).await?
            }
            End::Failed {
                error,
                is_permanent,
            } => {
                self.change_unit(lease, |unit| {
                    unit.fail(id, attempt, error, *is_permanent, now)
                })
                .await?
            }
            End::Stopped(StopReason::Cancelled) => {
                // `beat` is the check that the unit is still ours.
                let cancel = |unit: &UnitRecord| {
                    Ok(unit.beat(id, attempt, &board.progress())?.cancelled(now))
                };
                self.change_unit(lease, cancel).await?
            }
            End::NothingToKeep => {
                let why = "it ended with nothing to keep, and nobody had stopped the training";
                self.change_unit(lease, |unit| unit.fail(id, attempt, why, false, now))
                    .await?
            }
            End::Stopped(reason) => {
                let why = match reason {
                    StopReason::Preempted => HandedBack::Preempted,
                    _ => HandedBack::Asked,
                };
                // What was done since the last heartbeat goes along: it may be a checkpoint.
                let hand_back = |unit: &UnitRecord| {
                    let reported = unit.beat(id, attempt, &board.progress())?;
                    reported.hand_back(id, attempt, why, now)
                };
                self.change_unit(lease, hand_back).await?
            }
        };
        // Whatever ended this attempt, this write or an earlier one whose answer was lost: what follows is sent.
        match (stored.filter(|it| it.attempt == attempt), job) {
            (Some(unit), Some(job)) => self.follow_up(lease, &unit, &job).await,
            _ => Ok(()),
        }
    }

    /// The stop of a training that had nothing to keep yet is a cancel of its job.
    async fn cancel_job(&self, lease: &Lease) -> Result<(), Error> {
        let (kind, dir) = (lease.key.kind, &lease.key.dir);
        let job = self.store.read_job(kind, dir).await;
        let job = job.map_err(Error::store("read the job of a unit"))?;
        if !job.is_some_and(|it| it.value.wishes.stop) {
            return Ok(());
        }
        let by = "the stop of a training that had nothing to keep yet".to_owned();
        let cancelled =
            self.store
                .change_job(kind, dir, JobEvent::Cancelled { by }, self.options.window);
        cancelled
            .await
            .map_err(Error::store("cancel a job that has nothing to keep"))?;
        Ok(())
    }

    /// One swap of the unit; what is stored then.
    async fn change_unit(
        &self,
        lease: &Lease,
        change: impl Fn(&UnitRecord) -> Result<UnitRecord, LeaseLost> + Send + Sync,
    ) -> Result<Option<UnitRecord>, Error> {
        let key = ObjectKey::Unit(lease.key.clone());
        let swapped = self
            .store
            .swap::<UnitRecord>(&key, |unit| match unit.map(&change) {
                Some(Ok(next)) => Decision::Write(next),
                Some(Err(_)) | None => Decision::Keep,
            });
        let swapped = swapped
            .await
            .map_err(Error::store("write the end of a unit"))?;
        if !swapped.changed {
            tracing::warn!(unit = %lease.key, attempt = lease.attempt(), "unit was not ours any more");
        }
        Ok(swapped.stored.map(|it| it.value))
    }

    /// Sends the message that the new state of the unit asks for.
    async fn follow_up(
        &self,
        lease: &Lease,
        unit: &UnitRecord,
        job: &JobRecord,
    ) -> Result<(), Error> {
        self.tally.written(unit);
        match unit.state {
            UnitState::Done | UnitState::Failed => self.say_ended(&lease.key).await,
            UnitState::Waiting => self.send_hint(lease, unit, job).await,
            UnitState::Leased | UnitState::Cancelled => Ok(()),
        }
    }

    /// A new hint for a unit that waits again. After an error it comes later: what is broken may heal.
    async fn send_hint(
        &self,
        lease: &Lease,
        unit: &UnitRecord,
        job: &JobRecord,
    ) -> Result<(), Error> {
        let is_error = unit.error.is_some();
        let delay = if is_error {
            self.options.timing.heartbeat() / 3 * unit.failures
        } else {
            Duration::ZERO
        };
        let queue = if job.wishes.urgent {
            job.class.urgent_queue()
        } else {
            job.class.queue()
        };
        let hint = UnitHint::new(lease.key.kind, lease.key.dir.clone(), lease.key.unit);
        let body = serde_json::to_string(&hint).expect("a hint holds only text and numbers");
        let sending = async {
            let queue = QueueName::parse(&queue)?;
            self.queue
                .send(&queue, &[Outgoing::after(delay, body)])
                .await
        };
        sending
            .await
            .map_err(Error::queue("send the hint of a unit"))
    }

    async fn write_log(&self, lease: &Lease, log: &str) -> Result<Output, Error> {
        let key = ObjectKey::UnitOutput {
            unit: lease.key.clone(),
            attempt: lease.attempt(),
            file: "log.txt".to_owned(),
        };
        let put = self
            .store
            .put_bytes(&key, log.to_owned(), Put::Overwrite)
            .await;
        put.map_err(Error::store("write the log of a unit"))?;
        Ok(output_of("log", &key, log.as_bytes()))
    }
}

/// Waits for the end of the work; the flag says whether its thread is free again.
async fn supervise(
    running: &mut Running,
    shutdown: &CancellationToken,
    grace: Duration,
) -> (End, bool) {
    let Running {
        board,
        work,
        keeper,
        dropped,
    } = running;
    let mut give_up_at = None;
    loop {
        let stop_at = give_up_at.unwrap_or_else(Instant::now);
        // In this order, so that a result which is there counts, whatever else came at the same moment.
        tokio::select! {
            biased;
            result = &mut *work => return (End::of_work(result, board.stop_reason()), true),
            reason = &mut *keeper => {
                // A keeper that panicked keeps nothing alive.
                let reason = reason.unwrap_or(StopReason::LeaseLost);
                board.stop(reason);
                dropped.cancel();
                return (End::Stopped(reason), false);
            }
            () = shutdown.cancelled(), if give_up_at.is_none() => {
                board.stop(StopReason::Shutdown);
                give_up_at = Some(Instant::now() + grace);
            }
            () = sleep_until(stop_at), if give_up_at.is_some() => {
                dropped.cancel();
                // What waits at an await comes back at once, and its thread with it.
                let is_over = timeout(Duration::from_secs(1), work).await.is_ok();
                return (End::Stopped(StopReason::Shutdown), is_over);
            }
        }
    }
}

impl End {
    fn of_work(
        result: Result<Result<Outcome, Failure>, JoinError>,
        asked: Option<StopReason>,
    ) -> Self {
        let failed = |error, is_permanent| Self::Failed {
            error,
            is_permanent,
        };
        match result {
            Ok(Ok(outcome)) => Self::Finished(outcome),
            Ok(Err(Failure::Stopped)) => match asked {
                Some(reason) => Self::Stopped(reason),
                None => failed(
                    "the algorithm stopped without being asked to".to_owned(),
                    false,
                ),
            },
            Ok(Err(Failure::NothingToKeep)) => Self::NothingToKeep,
            Ok(Err(error @ Failure::Temporary { .. })) => {
                failed(cellmill_service::report(&error), false)
            }
            Ok(Err(error @ Failure::Permanent { .. })) => {
                failed(cellmill_service::report(&error), true)
            }
            Err(error) => failed(text_of_panic(error), false),
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Finished(_) => "finished",
            Self::Failed { .. } => "failed",
            Self::Stopped(reason) => reason.as_str(),
            Self::NothingToKeep => "stopped before there was anything to keep",
        }
    }
}

impl StopReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Superseded => "handed back: the job began a new round",
            Self::LeaseLost => "lease lost",
            Self::Shutdown => "handed back: the worker ends",
            Self::Preempted => "handed back: urgent work goes first",
        }
    }
}

fn text_of_panic(error: JoinError) -> String {
    let said = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(|it| (*it).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
    };
    let text = error.try_into_panic().ok().and_then(said);
    format!(
        "the algorithm panicked: {}",
        text.as_deref().unwrap_or("it did not say why")
    )
}
