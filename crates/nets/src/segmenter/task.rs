//! What a segmenter learns: for each pixel its class, and how deep in its cell it lies.

use super::loss::SegmenterLoss;
use super::network::SegmenterNetwork;
use super::prepare::Preparation;
use super::truth::{LabelledCells, SeenCells};
use crate::dense::{Crop, Task};
use crate::layers::Chain;
use crate::loss::Loss;
use crate::models::MAX_CLASSES;
use candle_core::Device;
use serde::{Deserialize, Serialize};

/// A segmenter, apart from its weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmenterTask {
    pub network: SegmenterNetwork,
    /// Classes of cells; the background is one more.
    pub n_classes: usize,
    #[serde(default)]
    pub preparation: Preparation,
    #[serde(default)]
    pub loss: SegmenterLoss,
}

impl SegmenterTask {
    /// Logits of an answer: the background's, then the classes'.
    pub(super) const fn n_logits(&self) -> usize {
        self.n_classes + 1
    }
}

impl Task for SegmenterTask {
    type Truth = LabelledCells;
    type Seen = SeenCells;

    fn build(&self, seed: u64, device: &Device) -> candle_core::Result<Chain> {
        self.network.build(self.n_outputs(), seed, device)
    }

    fn n_outputs(&self) -> usize {
        self.n_logits() + 1
    }

    fn is_head(&self, name: &str) -> bool {
        self.network.is_head(name)
    }

    fn centers(&self, truth: &LabelledCells) -> Vec<[f32; 2]> {
        truth.centers()
    }

    fn seen(&self, truth: &LabelledCells, crop: &Crop) -> SeenCells {
        truth.seen(crop)
    }

    fn loss(&self, answers: &[f32], _size: [usize; 2], seen: &[SeenCells]) -> Loss {
        self.loss.of(answers, self.n_logits(), seen)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.loss.problems();
        problems.extend(self.network.problems());
        if !(1..=MAX_CLASSES).contains(&self.n_classes) {
            let given = self.n_classes;
            problems.push(format!(
                "n_classes is {given}, it goes from 1 to {MAX_CLASSES}"
            ));
        }
        problems
    }

    fn words(&self, truth: &LabelledCells) -> Vec<u64> {
        truth.words()
    }
}
