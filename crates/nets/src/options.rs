//! What a training is asked to do.

use crate::augment::Augment;
use crate::loss::ClassWeights;
use crate::models::{Architecture, Family, Scale};
use crate::samples::Normalisation;
use crate::weights::{self, Foreign, WeightsError};
use serde::{Deserialize, Serialize};

/// The settings of a training. Their defaults and the reasons for them stand in `design.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    pub family: Family,
    pub scale: Scale,
    /// Width and height of the pictures in pixels.
    pub side: usize,
    pub n_classes: usize,
    /// Length of the feature vector.
    pub features: usize,
    pub epochs: u32,
    /// Pictures of a step.
    pub batch: usize,
    /// The largest learning rate, reached after the warm-up.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    pub warm_up_epochs: u32,
    /// The part of a label that is spread over all classes.
    pub label_smoothing: f64,
    pub class_weights: ClassWeights,
    pub augment: Augment,
    /// Probability with which a feature is dropped in training.
    pub dropout: f64,
    pub seed: u64,
    /// Stop after this many epochs without a better one.
    pub patience: Option<u32>,
    /// Train on, and later see, pictures in grey.
    pub gray: bool,
    /// Fingerprint of the weights that the training begins with; fresh ones without it.
    pub pretrained: Option<String>,
    /// What the weights want of pictures; measured on the training part without it.
    pub normalisation: Option<Normalisation>,
    /// Learning rate of the body as a part of the head's: weights that know something move less than fresh ones. At
    /// 0 the body stays as it is.
    pub body_rate: f64,
    /// Epochs at first in which the head learns alone.
    pub head_epochs: u32,
    /// The weights are averaged over steps with this decay (less in the first steps), and the average is what is
    /// validated and kept.
    pub ema: Option<f64>,
    /// Pairs of pictures are mixed (Zhang et al. 2018) by shares of Beta(this, this); 0 switches it off.
    pub mixup: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            family: Family::MobileNet,
            scale: Scale::Small,
            side: 64,
            n_classes: 2,
            features: 256,
            epochs: 30,
            batch: 64,
            learning_rate: 3e-3,
            weight_decay: 0.05,
            warm_up_epochs: 1,
            label_smoothing: 0.1,
            class_weights: ClassWeights::SquareRoot,
            augment: Augment::default(),
            dropout: 0.2,
            seed: 0,
            patience: None,
            gray: false,
            pretrained: None,
            normalisation: None,
            body_rate: 1.0,
            head_epochs: 0,
            ema: None,
            mixup: 0.0,
        }
    }
}

impl TrainOptions {
    pub const fn architecture(&self) -> Architecture {
        Architecture {
            family: self.family,
            scale: self.scale,
            side: self.side,
            n_classes: self.n_classes,
            features: self.features,
        }
    }

    /// The settings for a training that begins with these weights, or why the weights do not fit. Training and
    /// resuming both take them.
    pub fn with_weights(self, foreign: &Foreign) -> Result<Self, WeightsError> {
        let report = self.fit(foreign)?;
        Ok(Self {
            pretrained: Some(foreign.fingerprint().to_owned()),
            normalisation: self.normalisation.or(report.normalisation),
            ..self
        })
    }

    /// What these weights would set in the network, or why they do not fit.
    pub fn fit(&self, foreign: &Foreign) -> Result<weights::Report, WeightsError> {
        let device = candle_core::Device::Cpu;
        let fresh = self.architecture().build(0.0, 0, &device);
        let mut network = fresh.map_err(WeightsError::Network)?;
        weights::load_into(&mut network, foreign, self.family)
    }

    /// Everything that is wrong with the settings, a line each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.architecture().problems();
        problems.extend(self.augment.problems());
        let mut check = |name: &str, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                problems.push(format!("{name} is {value}, it goes from {low} to {high}"));
            }
        };
        check("epochs", f64::from(self.epochs), 1.0, 10_000.0);
        // Batch normalisation needs two pictures to have a variance.
        check("batch", self.batch as f64, 2.0, 4096.0);
        check("learning_rate", self.learning_rate, 1e-8, 10.0);
        check("weight_decay", self.weight_decay, 0.0, 10.0);
        check(
            "warm_up_epochs",
            f64::from(self.warm_up_epochs),
            0.0,
            f64::from(self.epochs),
        );
        check("label_smoothing", self.label_smoothing, 0.0, 0.9);
        check("dropout", self.dropout, 0.0, 0.95);
        check("body_rate", self.body_rate, 0.0, 1.0);
        check(
            "head_epochs",
            f64::from(self.head_epochs),
            0.0,
            f64::from(self.epochs),
        );
        check("ema", self.ema.unwrap_or(0.5), 0.5, 1.0 - 1e-9);
        check("mixup", self.mixup, 0.0, 2.0);
        check(
            "patience",
            f64::from(self.patience.unwrap_or(1)),
            1.0,
            10_000.0,
        );
        if let Some(it) = &self.normalisation {
            problems.extend(it.problems());
        }
        problems
    }

    /// Refuses settings that can't be, naming every problem.
    pub fn check(&self) -> Result<(), OptionsError> {
        let problems = self.problems();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(OptionsError { problems })
        }
    }
}

/// Settings that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the training settings can't be: {}", problems.join("; "))]
pub struct OptionsError {
    /// A line each.
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_every_problem_is_named_at_once() {
        TrainOptions::default().check().unwrap();
        let text = r#"{"side": 8, "batch": 1, "dropout": 1.5, "augment": {"blur": 2}, "learning_rate": 0}"#;
        let it: TrainOptions = serde_json::from_str(text).unwrap();
        let error = it.check().unwrap_err();
        assert_eq!(error.problems.len(), 5, "{error}");
        assert!(
            error
                .to_string()
                .contains("side is 8, it goes from 16 to 512")
        );
    }

    #[test]
    fn settings_survive_json_and_an_unknown_one_is_refused() {
        let it = TrainOptions {
            patience: Some(3),
            ..TrainOptions::default()
        };
        let text = serde_json::to_string(&it).unwrap();
        assert_eq!(serde_json::from_str::<TrainOptions>(&text).unwrap(), it);
        assert!(serde_json::from_str::<TrainOptions>(r#"{"epoch": 3}"#).is_err());
    }
}
