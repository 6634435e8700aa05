//! Why a training can't begin or go on.

use crate::options::OptionsError;
use crate::state::FileError;
use crate::weights::WeightsError;

/// Why a training can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(
        "{part} pictures have side {given} and the training is set to {expected}\nhint: resize the crops or set `side`"
    )]
    Side {
        part: &'static str,
        expected: usize,
        given: usize,
    },
    #[error(
        "a {part} picture has class {label} and the training has {n_classes} classes, from 0 on"
    )]
    Label {
        part: &'static str,
        label: usize,
        n_classes: usize,
    },
    #[error(
        "{count} training pictures are too few, 2 are the least\nhint: choose more cases or classes"
    )]
    TooFew { count: usize },
    #[error(
        "all training pictures are of class {label}\nhint: choose cases with two classes or more"
    )]
    OneClass { label: usize },
    #[error(
        "the loss is not a number any more at epoch {epoch}, step {step}\nhint: lower the learning rate, which was {learning_rate}"
    )]
    Diverged {
        /// From 1.
        epoch: u32,
        /// From 1, within the epoch.
        step: usize,
        learning_rate: f64,
    },
    #[error("the training is finished after {epochs} epochs")]
    Finished { epochs: u32 },
    #[error("the checkpoint can't be used")]
    Checkpoint(#[source] FileError),
    #[error(
        "the checkpoint belongs to another training: {what} differ\nhint: start anew, or resume with what it was started with"
    )]
    OtherTraining { what: &'static str },
    #[error("the weights to begin with can't be used")]
    Weights(#[source] WeightsError),
    #[error(
        "the settings name other weights to begin with than those that were given\nhint: take the settings of `TrainOptions::with_weights`"
    )]
    OtherWeights,
    #[error("the network could not compute")]
    Network(#[source] candle_core::Error),
}
