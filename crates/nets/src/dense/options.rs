//! How a dense network learns.

use crate::augment::Augment;
use crate::samples::Normalisation;
use serde::{Deserialize, Serialize};

/// The settings of a training on fields. Their defaults and the reasons for them stand in `detector/design.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DenseOptions {
    pub epochs: u32,
    /// Crops of a step.
    pub batch: usize,
    /// Width and height of a crop in pixels.
    pub side: usize,
    /// The largest learning rate, reached after the warm-up.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    pub warm_up_epochs: f64,
    /// Crops are larger or smaller by up to this part: by 0.25, between 1 / 1.25 and 1.25.
    pub scale_jitter: f64,
    /// Mirrors, quarter turns and changes of colour.
    pub augment: Augment,
    pub seed: u64,
    /// Train on, and later see, pictures in grey.
    pub gray: bool,
    /// Fingerprint of the weights that the training begins with; fresh ones without it.
    pub pretrained: Option<String>,
    /// What the weights want of pictures; measured on the fields without it.
    pub normalisation: Option<Normalisation>,
    /// Learning rate of weights that were given, as a part of that of the fresh ones.
    pub body_rate: f64,
    /// The weights are averaged over steps with this decay (less in the first steps), and the average is what answers.
    pub ema: f64,
}

impl Default for DenseOptions {
    fn default() -> Self {
        Self {
            epochs: 60,
            batch: 8,
            side: 256,
            learning_rate: 2e-3,
            weight_decay: 0.05,
            warm_up_epochs: 1.0,
            scale_jitter: 0.3,
            augment: Augment {
                shift: 0.0,
                brightness: 0.2,
                contrast: 0.2,
                saturation: 0.2,
                ..Augment::default()
            },
            seed: 0,
            gray: false,
            pretrained: None,
            normalisation: None,
            body_rate: 1.0,
            ema: 0.998,
        }
    }
}

/// Sides of a crop: fewer pixels show no cell whole, more are a field.
const SIDES: [f64; 2] = [64.0, 2048.0];

impl DenseOptions {
    /// Everything that is wrong with the settings, a line each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.augment.problems();
        let mut check = |name: &str, value: f64, [low, high]: [f64; 2]| {
            if !(low..=high).contains(&value) {
                problems.push(format!("{name} is {value}, it goes from {low} to {high}"));
            }
        };
        check("epochs", f64::from(self.epochs), [1.0, 10_000.0]);
        check("batch", self.batch as f64, [1.0, 1024.0]);
        check("side", self.side as f64, SIDES);
        check("learning_rate", self.learning_rate, [1e-8, 10.0]);
        check("weight_decay", self.weight_decay, [0.0, 10.0]);
        check(
            "warm_up_epochs",
            self.warm_up_epochs,
            [0.0, f64::from(self.epochs)],
        );
        check("scale_jitter", self.scale_jitter, [0.0, 2.0]);
        check("body_rate", self.body_rate, [0.0, 1.0]);
        check("ema", self.ema, [0.0, 1.0 - 1e-9]);
        if !self.side.is_multiple_of(crate::models::MULTIPLE) {
            let multiple = crate::models::MULTIPLE;
            problems.push(format!(
                "side is {}, it is a multiple of {multiple}",
                self.side
            ));
        }
        if let Some(it) = &self.normalisation {
            problems.extend(it.problems());
        }
        problems
    }
}
