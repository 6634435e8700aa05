//! A training as bytes, between two epochs.

use std::sync::Arc;
use std::time::Duration;

use super::profile::Profile;
use super::run::Best;
use super::{EpochReport, TrainError, Trainer};
use crate::device::OpenDevice;
use crate::optimiser::Moments;
use crate::options::TrainOptions;
use crate::samples::Samples;
use crate::state::{self, FileError, Named};
use cellmill_core::metrics::Confusion;
use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};

/// The checkpoint's description: what is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// The version of this description.
    checkpoint: u32,
    options: TrainOptions,
    /// Fingerprints of the training and the validation part.
    samples: [u64; 2],
    epoch: u32,
    steps: u64,
    best: Option<BestEpoch>,
    /// What was told of the epochs so far.
    reports: Vec<Report>,
    /// Computing time so far, in milliseconds.
    spent_ms: u64,
    profile: Profile,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BestEpoch {
    epoch: u32,
    /// Bits of the floats: a resumed training compares with exactly what the first one measured.
    macro_f1: u64,
    loss: u64,
}

/// An [`EpochReport`] with the bits of its floats: what a resumed training tells is what the first one told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    epoch: u32,
    learning_rate: u64,
    train_loss: u64,
    train_accuracy: u64,
    validation_loss: Option<u64>,
    confusion: Confusion,
    is_best: bool,
}

impl From<&EpochReport> for Report {
    fn from(it: &EpochReport) -> Self {
        Self {
            epoch: it.epoch,
            learning_rate: it.learning_rate.to_bits(),
            train_loss: it.train_loss.to_bits(),
            train_accuracy: it.train_accuracy.to_bits(),
            validation_loss: it.validation_loss.map(f64::to_bits),
            confusion: it.confusion.clone(),
            is_best: it.is_best,
        }
    }
}

impl From<Report> for EpochReport {
    fn from(it: Report) -> Self {
        Self {
            epoch: it.epoch,
            learning_rate: f64::from_bits(it.learning_rate),
            train_loss: f64::from_bits(it.train_loss),
            train_accuracy: f64::from_bits(it.train_accuracy),
            validation_loss: it.validation_loss.map(f64::from_bits),
            confusion: it.confusion,
            is_best: it.is_best,
        }
    }
}

const VERSION: u32 = 3;
const NETWORK: &str = "network.";
const BEST: &str = "best.";
const AVERAGE: &str = "average.";
const MOMENTS: [&str; 2] = ["first_moment.", "second_moment."];

/// A fingerprint of samples (FNV-1a over words), enough to notice that they are other ones.
fn fingerprint(samples: &Samples) -> u64 {
    let words = samples.pixels().chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let labels = samples.labels().iter().map(|it| *it as u64);
    words
        .chain(labels)
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| {
            (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
        })
}

impl Trainer {
    /// Everything that the rest of the training depends on, as a safetensors file.
    pub fn checkpoint(&mut self) -> Result<Vec<u8>, TrainError> {
        let network = state::values_of(&mut self.network).map_err(TrainError::Network)?;
        let parameters = state::parameters_of(&mut self.network).map_err(TrainError::Network)?;
        let mut all = Named::new();
        let mut add = |prefix: &str, values: &Named| {
            all.extend(
                values
                    .iter()
                    .map(|(name, it)| (format!("{prefix}{name}"), it.clone())),
            );
        };
        add(NETWORK, &network);
        if let Some(best) = &self.best {
            add(BEST, &best.values);
        }
        if let Some(average) = &self.average {
            add(AVERAGE, &average.values);
        }
        for ((name, shape), moments) in parameters.iter().zip(&self.optimiser.moments) {
            for (prefix, values) in MOMENTS.iter().zip(moments) {
                let values = values.values().map_err(TrainError::Network)?;
                all.insert(format!("{prefix}{name}"), (shape.clone(), values));
            }
        }
        let description = Description {
            checkpoint: VERSION,
            options: self.options.clone(),
            samples: [fingerprint(&self.train), fingerprint(&self.validation)],
            epoch: self.epoch,
            steps: self.optimiser.steps,
            best: self.best.as_ref().map(|it| BestEpoch {
                epoch: it.epoch,
                macro_f1: it.macro_f1.to_bits(),
                loss: it.loss.to_bits(),
            }),
            reports: self.reports.iter().map(Report::from).collect(),
            spent_ms: self.spent.as_millis() as u64,
            profile: self.clock.profile,
        };
        let text = serde_json::to_string(&description).expect("a description has text keys");
        Ok(state::to_bytes(&all, text))
    }

    /// Goes on from a checkpoint with the same settings and samples. The rest of the training gives the same
    /// bits as if it had never stopped.
    pub fn resume(
        options: TrainOptions,
        train: impl Into<Arc<Samples>>,
        validation: impl Into<Arc<Samples>>,
        device: &OpenDevice,
        checkpoint: &[u8],
    ) -> Result<Self, TrainError> {
        let mut it = Self::start(options, train.into(), validation.into(), device)?;
        let (file, text) = state::parse(checkpoint).map_err(TrainError::Checkpoint)?;
        let description: Description = serde_json::from_str(&text).map_err(|error| {
            TrainError::Checkpoint(FileError::Description {
                reason: error.to_string(),
            })
        })?;
        it.check_same(&description)?;
        it.load(&file, &description)
            .map_err(TrainError::Checkpoint)?;
        it.spent = Duration::from_millis(description.spent_ms);
        it.clock.profile = description.profile;
        it.reports = description.reports.into_iter().map(Into::into).collect();
        Ok(it)
    }

    fn check_same(&self, description: &Description) -> Result<(), TrainError> {
        let samples = [fingerprint(&self.train), fingerprint(&self.validation)];
        let what = if description.checkpoint != VERSION {
            "the versions"
        } else if description.options != self.options {
            "the settings"
        } else if description.samples != samples {
            "the samples"
        } else {
            return Ok(());
        };
        Err(TrainError::OtherTraining { what })
    }

    fn load(&mut self, file: &SafeTensors<'_>, description: &Description) -> Result<(), FileError> {
        let values = state::named(file, &mut self.network, NETWORK)?;
        state::restore(&mut self.network, &values).map_err(FileError::Network)?;
        if let Some(average) = &mut self.average {
            average.values = state::named(file, &mut self.network, AVERAGE)?;
        }
        if let Some(best) = &description.best {
            self.best = Some(Best {
                epoch: best.epoch,
                macro_f1: f64::from_bits(best.macro_f1),
                loss: f64::from_bits(best.loss),
                values: state::named(file, &mut self.network, BEST)?,
            });
        }
        // A checkpoint before the first step has no moments.
        if description.steps > 0 {
            let parameters = state::parameters_of(&mut self.network).map_err(FileError::Network)?;
            let device = self.device.candle();
            for (name, shape) in parameters {
                let [first, second] = MOMENTS.map(|it| {
                    let values = state::tensor(file, &format!("{it}{name}"), &shape)?;
                    Moments::of(values, &shape, device).map_err(FileError::Network)
                });
                self.optimiser.moments.push([first?, second?]);
            }
        }
        self.optimiser.steps = description.steps;
        self.epoch = description.epoch;
        Ok(())
    }
}
