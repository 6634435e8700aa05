//! A training as bytes, between two epochs.

use super::run::Best;
use super::{TrainError, Trainer};
use crate::device::OpenDevice;
use crate::options::TrainOptions;
use crate::samples::Samples;
use crate::state::{self, FileError, Named};
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
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BestEpoch {
    epoch: u32,
    /// Bits of the floats: a resumed training compares with exactly what the first one measured.
    macro_f1: u64,
    loss: u64,
}

const VERSION: u32 = 1;
const NETWORK: &str = "network.";
const BEST: &str = "best.";
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
        for ((name, shape), moments) in parameters.iter().zip(&self.optimiser.moments) {
            for (prefix, values) in MOMENTS.iter().zip(moments) {
                all.insert(format!("{prefix}{name}"), (shape.clone(), values.clone()));
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
        };
        let text = serde_json::to_string(&description).expect("a description has text keys");
        Ok(state::to_bytes(&all, text))
    }

    /// Goes on from a checkpoint with the same settings and samples. The rest of the training gives the same
    /// bits as if it had never stopped.
    pub fn resume(
        options: TrainOptions,
        train: Samples,
        validation: Samples,
        device: &OpenDevice,
        checkpoint: &[u8],
    ) -> Result<Self, TrainError> {
        let mut it = Self::new(options, train, validation, device)?;
        let (file, text) = state::parse(checkpoint).map_err(TrainError::Checkpoint)?;
        let description: Description = serde_json::from_str(&text).map_err(|error| {
            TrainError::Checkpoint(FileError::Description {
                reason: error.to_string(),
            })
        })?;
        it.check_same(&description)?;
        it.load(&file, &description)
            .map_err(TrainError::Checkpoint)?;
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
            for (name, shape) in parameters {
                let [first, second] =
                    MOMENTS.map(|it| state::tensor(file, &format!("{it}{name}"), &shape));
                self.optimiser.moments.push([first?, second?]);
            }
        }
        self.optimiser.steps = description.steps;
        self.epoch = description.epoch;
        Ok(())
    }
}
