//! The loop of every training: epoch by epoch, stopped, resumed, told.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use cellmill_worker::{Cause, Context, Failure};

use super::algorithm::failed;
use crate::compute::Compute;
use crate::learner::{Learner, Step, ToldEpoch};

/// How far the whole is when training begins and when it ends, in percent. Before: reading. After: judging.
pub(super) const BEGIN: f64 = 5.0;
pub(super) const END: f64 = 95.0;
/// The file name of a checkpoint, behind its number.
const CHECKPOINT: &str = "training.safetensors";

/// Trains to the end, on the thread of the unit: its heartbeat goes on beside it, and every step looks whether to
/// stop. `time_s` is the longest time in seconds, 0 none. Says why not all epochs were run, when they were not.
pub(super) async fn learn<L: Learner>(
    compute: &Compute,
    mut training: L,
    time_s: u64,
    context: &mut Context,
) -> Result<(L, Option<&'static str>), Failure> {
    let mut watch = Watch::new(training.epochs(), time_s);
    let mut n_saved = training.epochs_done();
    loop {
        watch.look(&training);
        if training.is_over() {
            return Ok((training, None));
        }
        if watch.is_time_used() {
            return Ok((training, Some("time")));
        }
        if context.should_finish() {
            if training.epochs_done() == 0 {
                return Err(Failure::NothingToKeep);
            }
            context.info("stopped: the best epoch so far is kept");
            return Ok((training, Some("stopped")));
        }
        let seen = &mut *context;
        let epoch = compute.run(|| training.epoch(&mut |step| watch.step(step, seen)));
        let epoch = epoch.map_err(failed)?;
        let is_back = epoch.is_none() && context.is_handed_back();
        if let Some(told) = &epoch {
            if let Some(left) = watch.left(training.spent()) {
                training.fit_into(left);
            }
            watch.epoch(told, training.done(), context);
        }
        let is_new = training.epochs_done() > n_saved && !training.is_over();
        if is_new && (is_back || context.is_checkpoint_due()) {
            let bytes = compute.run(|| training.checkpoint()).map_err(failed)?;
            let is_best = training.is_at_its_best();
            context.write_checkpoint(CHECKPOINT, bytes, is_best).await?;
            n_saved = training.epochs_done();
        }
        context.check_stop()?;
    }
}

/// A new training, or one that goes on from the newest checkpoint that can be used.
pub(super) async fn begin_or_resume<L: Learner>(
    compute: &Compute,
    context: &mut Context,
    begin: impl FnOnce() -> Result<L, Cause> + Send,
    resume: impl Fn(&[u8]) -> Result<L, Cause> + Send + Sync,
) -> Result<L, Failure> {
    while let Some((checkpoint, bytes)) = context.newest_checkpoint().await? {
        match compute.run(|| resume(&bytes)) {
            Ok(training) => {
                context.resumed_from(&checkpoint);
                return Ok(training);
            }
            Err(error) => {
                context.drop_checkpoint(&checkpoint, &cellmill_service::report(error.as_ref()));
            }
        }
    }
    compute.run(begin).map_err(failed)
}

/// Reports a training and knows when its time is over.
struct Watch {
    epochs: u32,
    /// Zero: none.
    limit: Duration,
    /// What the epochs before this one took, and when this one began.
    spent: Duration,
    epoch_began: Instant,
    /// How good the last epoch was: `balanced accuracy 0.93`.
    so_far: Option<String>,
    /// Whose turn it is in a search.
    turn: String,
}

impl Watch {
    /// `limit_s` seconds; 0 is no limit.
    fn new(epochs: u32, limit_s: u64) -> Self {
        Self {
            epochs,
            limit: Duration::from_secs(limit_s),
            spent: Duration::ZERO,
            epoch_began: Instant::now(),
            so_far: None,
            turn: String::new(),
        }
    }

    /// Between two epochs: of a training that goes on, too.
    fn look(&mut self, training: &impl Learner) {
        self.spent = training.spent();
        self.epoch_began = Instant::now();
        self.turn = training.turn();
        self.so_far = training.so_far();
    }

    fn step(&self, step: Step, context: &mut Context) -> ControlFlow<()> {
        let percent = self.percent(step.done);
        let so_far = self.so_far.as_ref().map(|it| format!(", {it}"));
        let so_far = so_far.unwrap_or_default();
        let Step { epoch, loss, .. } = step;
        let (turn, epochs) = (&self.turn, self.epochs);
        let text = format!("{turn}epoch {epoch} of {epochs}, loss {loss:.2}{so_far}");
        context.report(percent, &text);
        if context.should_stop() || context.should_finish() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// `done` of the whole training.
    fn epoch(&self, told: &ToldEpoch, done: f64, context: &mut Context) {
        let (turn, epochs) = (&self.turn, self.epochs);
        let ToldEpoch {
            epoch,
            figures,
            is_best,
        } = told;
        let text = format!("{turn}epoch {epoch} of {epochs}, {figures}");
        context.report(self.percent(done), &text);
        let best = if *is_best { ", the best so far" } else { "" };
        context.info(&format!("{text}{best}"));
    }

    fn percent(&self, done: f64) -> f64 {
        BEGIN + (END - BEGIN) * done.max(self.time_used())
    }

    /// What is left of the time after so much of it; `None` without a limit.
    fn left(&self, spent: Duration) -> Option<Duration> {
        (!self.limit.is_zero()).then(|| self.limit.saturating_sub(spent))
    }

    /// After the time no epoch begins; one at least is run.
    fn is_time_used(&self) -> bool {
        !self.spent.is_zero() && self.time_used() >= 1.0
    }

    /// The part of the time that may be used, 0 when there is no limit.
    fn time_used(&self) -> f64 {
        if self.limit.is_zero() {
            return 0.0;
        }
        let used = self.spent + self.epoch_began.elapsed();
        (used.as_secs_f64() / self.limit.as_secs_f64()).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::job::JobParameters;

    use super::*;
    use crate::tests::{Lab, training};

    #[tokio::test]
    async fn after_the_time_no_epoch_begins_and_steps_are_finished() {
        let lab = Lab::plain(8, &[301, 302]).await;
        let unit = lab.unit(JobParameters::Train(training(&[301, 302])), 0, 1);
        let mut context = Context::unsupervised(lab.store.clone(), &unit);
        let step = Step {
            epoch: 3,
            done: 0.1,
            loss: 0.4,
        };
        for (limit, spent, ends) in [(0, 100, false), (9, 8, false), (9, 9, true), (9, 0, false)] {
            let mut watch = Watch::new(20, limit);
            watch.spent = Duration::from_secs(spent);
            assert!(watch.step(step, &mut context).is_continue());
            assert_eq!(watch.is_time_used(), ends, "{limit} {spent}");
        }
    }
}
