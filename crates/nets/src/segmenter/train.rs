//! A segmenter learns.

use super::model::Segmenter;
use super::network::SegmenterNetwork;
use super::task::SegmenterTask;
use super::truth::LabelledCells;
use crate::dense::{DenseError, DenseOptions, DenseTrainer, Field, Task as _};
use crate::device::OpenDevice;
use crate::weights::{self, Foreign};
use std::sync::Arc;

/// A training of a segmenter.
pub type SegmenterTrainer = DenseTrainer<SegmenterTask>;

impl SegmenterTrainer {
    /// Checks everything, prepares the pictures and makes a network: with fresh weights, or with those that the settings
    /// name.
    pub fn new(
        task: SegmenterTask,
        options: DenseOptions,
        mut fields: Vec<Field<LabelledCells>>,
        device: &OpenDevice,
        foreign: Option<&Foreign>,
    ) -> Result<Self, DenseError> {
        let mut problems = options.problems();
        problems.extend(task.problems());
        problems.extend(fields.iter().filter_map(|it| unfit(&task, it)));
        if !problems.is_empty() {
            return Err(DenseError::Options { problems });
        }
        for field in &mut fields {
            let prepared = task.preparation.of(&field.picture, options.gray);
            prepared.apply(&mut field.picture.pixels);
        }
        let layers = task.build(options.seed, device.candle());
        let mut layers = layers.map_err(DenseError::Network)?;
        let mut options = options;
        if let Some(foreign) = foreign {
            let report = match task.network {
                SegmenterNetwork::UNet { .. } => weights::load_into_unet(&mut layers, foreign),
                SegmenterNetwork::Family { family, .. } => {
                    weights::load_below(&mut layers, foreign, family)
                }
            };
            let report = report.map_err(DenseError::Weights)?;
            options.pretrained = Some(foreign.fingerprint().to_owned());
            options.normalisation = options.normalisation.or(report.normalisation);
        }
        Self::start(task, options, layers, Arc::new(fields), device)
    }

    /// The segmenter that the training would end with now: its weights averaged over the last steps. `scale`: pixels of
    /// the fields that it learned from for one of the true fields.
    pub fn segmenter(&self, scale: f64) -> Result<Segmenter, DenseError> {
        let options = self.options();
        Ok(Segmenter::new(
            *self.task(),
            scale,
            options.gray,
            options.pretrained.clone(),
            *self.normalisation(),
            self.averaged()?,
        ))
    }
}

/// Why labels don't fit their picture or the task.
fn unfit(task: &SegmenterTask, field: &Field<LabelledCells>) -> Option<String> {
    let size = [field.picture.width(), field.picture.height()];
    let [width, height] = field.truth.size();
    if size != [width, height] {
        let [w, h] = size;
        let text = format!("labels of {width} x {height} pixels are not of a picture of {w} x {h}");
        return Some(text);
    }
    let class = field.truth.classes().find(|it| *it >= task.n_classes)?;
    let n_classes = task.n_classes;
    Some(format!("a cell is of class {class}, there are {n_classes}"))
}
