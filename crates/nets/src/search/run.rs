//! A search between two epochs.

use super::halving::{self, Outcome, Trial};
use crate::device::OpenDevice;
use crate::options::TrainOptions;
use crate::samples::Samples;
use crate::trainer::{EpochReport, StepReport, TrainError, Trainer};
use crate::weights::Foreign;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Several networks tried side by side.
///
/// All are trained a few epochs; the better half goes on until it has come twice as far, and so on; the last one is
/// trained to its end. Each has the learning rates of a whole training, so those that are compared have come as far.
/// The validation part alone decides. Nothing here looks at a clock but [`fit_into`](Self::fit_into): a search that is
/// limited by epochs repeats to the bit.
#[derive(Debug)]
pub struct Search {
    device: OpenDevice,
    train: Arc<Samples>,
    validation: Arc<Samples>,
    /// Those that settings of trials name.
    weights: Option<Arc<Foreign>>,
    pub(super) trials: Vec<Trial>,
    /// Where each open trial stands that is not the present one; `None`: at its beginning.
    pub(super) checkpoints: Vec<Option<Vec<u8>>>,
    /// The trial that is trained now.
    pub(super) present: Option<(usize, Trainer)>,
    keeps_trace: bool,
}

impl Search {
    /// `trials` are settings of equal epochs, each with about what an epoch costs. `weights` are those that some of
    /// them name.
    pub fn new(
        trials: Vec<(TrainOptions, f64)>,
        train: impl Into<Arc<Samples>>,
        validation: impl Into<Arc<Samples>>,
        device: &OpenDevice,
        weights: Option<Arc<Foreign>>,
    ) -> Self {
        let trials = trials
            .into_iter()
            .map(|(options, cost)| Trial::new(options, cost));
        let trials: Vec<Trial> = trials.collect();
        Self {
            device: device.clone(),
            train: train.into(),
            validation: validation.into(),
            weights,
            checkpoints: vec![None; trials.len()],
            trials,
            present: None,
            keeps_trace: false,
        }
    }

    /// From now on each training keeps single events, see [`Trainer::keep_trace`].
    pub fn keep_trace(&mut self) {
        self.keeps_trace = true;
        if let Some((_, trainer)) = &mut self.present {
            trainer.keep_trace();
        }
    }

    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// The place of the trial whose turn it is; `None` when all is done.
    pub fn at(&self) -> Option<usize> {
        halving::next(&self.trials)
    }

    /// Epochs of all trials.
    pub fn epochs_done(&self) -> u32 {
        self.trials.iter().map(Trial::epochs_done).sum()
    }

    /// Time that they took, those before a resume too.
    pub fn spent(&self) -> Duration {
        self.trials.iter().map(|it| it.spent).sum()
    }

    /// The part of the work that is done, 0 to 1, when this part of the present epoch is.
    pub fn done(&self, of_epoch: f64) -> f64 {
        let cost = |it: &Trial| it.cost * f64::from(it.epochs_done());
        let before: f64 = self.trials.iter().map(cost).sum();
        let now = self.at().map_or(0.0, |it| self.trials[it].cost * of_epoch);
        let all = before + halving::cost_left(&self.trials);
        if all > 0.0 { (before + now) / all } else { 0.0 }
    }

    /// Leaves trials out that were not begun, the dearest first, until the rest fits into this time, judged by what
    /// the epochs so far took. Once an epoch was done.
    pub fn fit_into(&mut self, left: Duration) {
        halving::learn_costs(&mut self.trials);
        halving::fit_into(&mut self.trials, left.as_secs_f64());
    }

    /// One epoch of the trial whose turn it is: its place, and what the epoch gave. `Ok(None)`: `on_step` broke it off,
    /// and it is as if it had never begun.
    pub fn epoch(
        &mut self,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<Option<(usize, EpochReport)>, TrainError> {
        let Some(at) = self.at() else {
            let epochs = self.epochs_done();
            return Err(TrainError::Finished { epochs });
        };
        let trainer = self.turn_to(at)?;
        let Some(report) = trainer.epoch(on_step)? else {
            return Ok(None);
        };
        let spent = trainer.spent();
        let trial = &mut self.trials[at];
        trial.spent = spent;
        trial.reports.push(report.clone());
        for dropped in halving::halve(&mut self.trials) {
            self.checkpoints[dropped] = None;
        }
        Ok(Some((at, report)))
    }

    /// The best of the trials that are in the race, by its place, as far as it came.
    pub fn finish(mut self) -> Result<(usize, Trainer, Vec<Trial>), TrainError> {
        let mut open = halving::open(&self.trials);
        let order = |a: &usize, b: &usize| {
            halving::better_first(&self.trials[*a], &self.trials[*b]).then(a.cmp(b))
        };
        open.sort_by(order);
        let best = open.first().copied().unwrap_or(0);
        self.turn_to(best)?;
        match self.present {
            Some((at, trainer)) => Ok((at, trainer, self.trials)),
            None => Err(TrainError::Finished { epochs: 0 }),
        }
    }

    /// Puts the present training aside and takes up this one.
    pub(super) fn turn_to(&mut self, at: usize) -> Result<&mut Trainer, TrainError> {
        let present = match self.present.take() {
            Some((before, trainer)) if before == at => trainer,
            before => {
                self.put_aside(before)?;
                self.taken_up(at)?
            }
        };
        let (_, trainer) = self.present.insert((at, present));
        Ok(trainer)
    }

    fn put_aside(&mut self, before: Option<(usize, Trainer)>) -> Result<(), TrainError> {
        let Some((at, mut trainer)) = before else {
            return Ok(());
        };
        let goes_on = self.trials[at].outcome == Outcome::Open && trainer.epochs_done() > 0;
        if goes_on {
            self.checkpoints[at] = Some(trainer.checkpoint()?);
        }
        Ok(())
    }

    fn taken_up(&mut self, at: usize) -> Result<Trainer, TrainError> {
        let options = self.trials[at].options.clone();
        let (train, validation) = (Arc::clone(&self.train), Arc::clone(&self.validation));
        let device = &self.device;
        let mut trainer = match (self.checkpoints[at].take(), &self.weights) {
            (Some(bytes), _) => Trainer::resume(options, train, validation, device, &bytes)?,
            (None, Some(weights)) if options.pretrained.is_some() => {
                Trainer::with_weights(options, train, validation, device, weights)?
            }
            (None, _) => Trainer::new(options, train, validation, device)?,
        };
        if self.keeps_trace {
            trainer.keep_trace();
        }
        Ok(trainer)
    }
}
