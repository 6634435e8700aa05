//! What every training is to its loop, whatever it learns.

use std::ops::ControlFlow;
use std::time::Duration;

use cellmill_worker::Cause;

/// One step of a training, told while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) epoch: u32,
    /// Of the whole training, 0 to 1.
    pub(crate) done: f64,
    pub(crate) loss: f64,
}

/// An epoch that is done, in words.
#[derive(Clone, Debug)]
pub(crate) struct ToldEpoch {
    /// From 1.
    pub(crate) epoch: u32,
    /// `loss 0.41, balanced accuracy 0.93`
    pub(crate) figures: String,
    /// The best so far.
    pub(crate) is_best: bool,
}

/// A training between two epochs.
pub(crate) trait Learner: Send {
    /// Most epochs of a network.
    fn epochs(&self) -> u32;

    /// Of all networks together.
    fn epochs_done(&self) -> u32;

    /// The part of all work that is done, 0 to 1.
    fn done(&self) -> f64;

    /// Time that its epochs took.
    fn spent(&self) -> Duration;

    /// Are all epochs done, or has the patience run out?
    fn is_over(&self) -> bool;

    /// Leaves out what would not fit into this time.
    fn fit_into(&mut self, _left: Duration) {}

    /// Of a search, whose turn it is: `resnet18 small (3 of 6): `; else nothing.
    fn turn(&self) -> String {
        String::new()
    }

    /// How good the last epoch was, if it was measured: `balanced accuracy 0.93`.
    fn so_far(&self) -> Option<String>;

    /// One epoch. `Ok(None)`: `watch` broke it off, and it is as if it had never begun.
    fn epoch(
        &mut self,
        watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Option<ToldEpoch>, Cause>;

    fn checkpoint(&mut self) -> Result<Vec<u8>, Cause>;

    /// Is the last epoch done the best so far?
    fn is_at_its_best(&self) -> bool;
}
