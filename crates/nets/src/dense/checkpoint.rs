//! A training between two epochs as bytes, and back.

use super::error::DenseError;
use super::options::DenseOptions;
use super::picture::Field;
use super::task::Task;
use super::trainer::{DenseEpoch, DenseTrainer};
use crate::optimiser::Moments;
use crate::state::{self, FileError, Named};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a checkpoint says beside its tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description<T> {
    /// The version of this description.
    dense_checkpoint: u32,
    task: T,
    options: DenseOptions,
    /// Fingerprint of the fields.
    fields: u64,
    steps: u64,
    reports: Vec<Report>,
    /// Computing time so far, in milliseconds.
    spent_ms: u64,
}

/// A [`DenseEpoch`] with the bits of its floats.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    epoch: u32,
    learning_rate: u64,
    train_loss: u64,
    score: Option<u64>,
}

const VERSION: u32 = 1;
const NETWORK: &str = "network.";
const AVERAGE: &str = "average.";
const MOMENTS: [&str; 2] = ["first_moment.", "second_moment."];

/// A fingerprint of fields (FNV-1a over words), enough to notice that they are other ones.
fn fingerprint<T: Task>(task: &T, fields: &[Field<T::Truth>]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |word: u64| hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    for field in fields {
        add(field.picture.width as u64);
        for chunk in field.picture.pixels.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            add(u64::from_le_bytes(word));
        }
        task.words(&field.truth).into_iter().for_each(&mut add);
    }
    hash
}

impl<T: Task> DenseTrainer<T> {
    /// Everything that the rest of the training depends on, as a safetensors file.
    pub fn checkpoint(&mut self) -> Result<Vec<u8>, DenseError> {
        let layers = &mut self.network.layers;
        let network = state::values_of(layers).map_err(DenseError::Network)?;
        let parameters = state::parameters_of(layers).map_err(DenseError::Network)?;
        let mut all = Named::new();
        for (prefix, values) in [(NETWORK, &network), (AVERAGE, &self.average.values)] {
            let named = values.iter();
            all.extend(named.map(|(name, it)| (format!("{prefix}{name}"), it.clone())));
        }
        for ((name, shape), moments) in parameters.iter().zip(&self.optimiser.moments) {
            for (prefix, values) in MOMENTS.iter().zip(moments) {
                let values = values.values().map_err(DenseError::Network)?;
                all.insert(format!("{prefix}{name}"), (shape.clone(), values));
            }
        }
        let report = |it: &DenseEpoch| Report {
            epoch: it.epoch,
            learning_rate: it.learning_rate.to_bits(),
            train_loss: it.train_loss.to_bits(),
            score: it.score.map(f64::to_bits),
        };
        let description = Description {
            dense_checkpoint: VERSION,
            task: self.task.clone(),
            options: self.options.clone(),
            fields: fingerprint(&self.task, &self.fields),
            steps: self.optimiser.steps,
            reports: self.reports.iter().map(report).collect(),
            spent_ms: self.spent.as_millis() as u64,
        };
        let text = serde_json::to_string(&description).expect("a description has text keys");
        Ok(state::to_bytes(&all, text))
    }

    /// Goes on from a checkpoint of this training, which has not begun: it has the settings and fields of the other.
    /// The rest gives the same bits as if it had never stopped.
    pub fn resumed(mut self, checkpoint: &[u8]) -> Result<Self, DenseError> {
        let (file, text) = state::parse(checkpoint).map_err(DenseError::Checkpoint)?;
        let description: Description<T> = serde_json::from_str(&text).map_err(|error| {
            DenseError::Checkpoint(FileError::Description {
                reason: error.to_string(),
            })
        })?;
        let what = if description.dense_checkpoint != VERSION {
            "the versions"
        } else if description.options != self.options || description.task != self.task {
            "the settings"
        } else if description.fields != fingerprint(&self.task, &self.fields) {
            "the fields"
        } else {
            self.load(&file, &description)
                .map_err(DenseError::Checkpoint)?;
            return Ok(self);
        };
        Err(DenseError::OtherTraining { what })
    }

    fn load(
        &mut self,
        file: &SafeTensors<'_>,
        description: &Description<T>,
    ) -> Result<(), FileError> {
        let layers = &mut self.network.layers;
        let values = state::named(file, layers, NETWORK)?;
        state::restore(layers, &values).map_err(FileError::Network)?;
        self.average.values = state::named(file, layers, AVERAGE)?;
        // A checkpoint before the first step has no moments.
        if description.steps > 0 {
            let parameters = state::parameters_of(layers).map_err(FileError::Network)?;
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
        self.spent = Duration::from_millis(description.spent_ms);
        self.reports = (description.reports.iter())
            .map(|it| DenseEpoch {
                epoch: it.epoch,
                learning_rate: f64::from_bits(it.learning_rate),
                train_loss: f64::from_bits(it.train_loss),
                score: it.score.map(f64::from_bits),
            })
            .collect();
        Ok(())
    }
}
