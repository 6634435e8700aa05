//! Why a training on fields can't begin or go on.

use crate::state::FileError;
use crate::weights::WeightsError;

/// Why a training on fields can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum DenseError {
    #[error("the training settings can't be: {}", problems.join("; "))]
    Options {
        /// A line each.
        problems: Vec<String>,
    },
    #[error("there is no field to learn from\nhint: choose more cases")]
    NoFields,
    #[error("none of the {count} fields to learn from has a cell\nhint: choose cases with labels")]
    NoCells { count: usize },
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
    #[error("the network could not compute")]
    Network(#[source] candle_core::Error),
}
