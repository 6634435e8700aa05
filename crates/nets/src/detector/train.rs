//! A detector learns.

use super::model::Detector;
use super::task::{DetectorTask, LabelledBox};
use crate::dense::{DenseError, DenseOptions, DenseTrainer, Field, Task as _, memory};
use crate::device::OpenDevice;
use crate::weights::{self, Foreign};
use std::sync::Arc;

/// A training of a detector.
pub type DetectorTrainer = DenseTrainer<DetectorTask>;

/// Bytes that a step of training holds on the processor: weights with their gradients, moments and average, and what
/// the layers keep of a batch. It runs a step of one small crop.
pub fn step_bytes(task: &DetectorTask, options: &DenseOptions) -> candle_core::Result<u64> {
    memory::step_bytes(task, options)
}

impl DetectorTrainer {
    /// Checks everything and makes a network: with fresh weights, or with those that the settings name.
    pub fn new(
        task: DetectorTask,
        options: DenseOptions,
        fields: Arc<Vec<Field<Vec<LabelledBox>>>>,
        device: &OpenDevice,
        foreign: Option<&Foreign>,
    ) -> Result<Self, DenseError> {
        let mut problems = options.problems();
        problems.extend(task.problems());
        if !problems.is_empty() {
            return Err(DenseError::Options { problems });
        }
        let layers = task.build(options.seed, device.candle());
        let mut layers = layers.map_err(DenseError::Network)?;
        let mut options = options;
        if let Some(foreign) = foreign {
            let family = task.network.family;
            let report = weights::load_below(&mut layers, foreign, family);
            let report = report.map_err(DenseError::Weights)?;
            options.pretrained = Some(foreign.fingerprint().to_owned());
            options.normalisation = options.normalisation.or(report.normalisation);
        }
        Self::start(task, options, layers, fields, device)
    }

    /// The detector that the training would end with now: its weights averaged over the last steps. `scale`: pixels of
    /// the fields that it learned from for one of the true fields.
    pub fn detector(&self, scale: f64) -> Result<Detector, DenseError> {
        let options = self.options();
        Ok(Detector::new(
            *self.task(),
            scale,
            options.gray,
            options.pretrained.clone(),
            *self.normalisation(),
            self.averaged()?,
        ))
    }
}
