//! What the algorithms want of networks: learning, answering, and the arithmetic around both.
//!
//! Beside the device, nothing else in this package knows what networks are made with.

use std::ops::ControlFlow;
use std::time::Duration;

use cellmill_core::metrics::Confusion;
use cellmill_core::model::{Calibration, EpochFigures, Measured, ModelInput, Threshold};
use cellmill_core::training::TrainParameters;
use cellmill_nets::weights::{self, Foreign};
use cellmill_nets::{
    Augment, ClassWeights, Classifier, EpochReport, Family, FitOptions, LogisticRegression,
    N_VIEWS, OpenDevice, Scale, Scored, Trainer, expected_calibration_error, histograms,
    negative_log_likelihood, softmax_with_temperature, temperature, threshold_for_recall,
};
use cellmill_worker::{Cause, Failure};

pub(crate) use cellmill_nets::{
    Profile, ProfilePart as Part, Samples, TraceEvent, TrainOptions, instruction_set,
};

/// What weights from elsewhere learn with, as a part of the rate: they know something already.
const PRETRAINED_BODY_RATE: f64 = 0.1;
/// Pictures that are computed at once: enough to keep all threads busy.
const BATCH: usize = 128;

/// A network that answers.
#[derive(Debug)]
pub(crate) struct Network(Classifier);

/// What a network is, as its file says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) family: String,
    pub(crate) scale: String,
    pub(crate) features: u32,
    pub(crate) n_classes: usize,
    pub(crate) input: ModelInput,
}

impl Network {
    pub(crate) fn of_bytes(bytes: &[u8], device: &OpenDevice) -> Result<Self, Cause> {
        Ok(Self(Classifier::from_bytes(bytes, device)?))
    }

    /// The file. Equal networks give equal bytes.
    pub(crate) fn file(&mut self) -> Result<Vec<u8>, Cause> {
        Ok(self.0.to_bytes()?)
    }

    pub(crate) fn shape(&self) -> Shape {
        let spec = self.0.spec();
        let architecture = spec.architecture;
        Shape {
            family: name_of(architecture.family),
            scale: name_of(architecture.scale),
            features: architecture.features as u32,
            n_classes: architecture.n_classes,
            input: ModelInput {
                side: architecture.side as u32,
                gray: spec.gray,
                mean: spec.normalisation.mean,
                std: spec.normalisation.deviation,
            },
        }
    }

    pub(crate) fn side(&self) -> u32 {
        self.0.spec().architecture.side as u32
    }

    /// One row of logits a picture: the mean over its eight views. `pixels` are pictures of the network's side, one
    /// after the other.
    pub(crate) fn logits(&mut self, pixels: &[u8]) -> Result<Vec<Vec<f32>>, Cause> {
        let mut rows = Vec::new();
        let mut each = |it: Scored| rows.push(it.logits);
        self.0.predict_views(pixels, BATCH, N_VIEWS, &mut each)?;
        Ok(rows)
    }
}

/// The name of a unit variant as settings and files write it.
fn name_of(it: impl serde::Serialize) -> String {
    serde_json::to_value(it)
        .ok()
        .and_then(|it| it.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The largest of the values, the first of equals.
pub(crate) fn highest<T: PartialOrd>(values: &[T]) -> usize {
    (1..values.len()).fold(
        0,
        |best, at| if values[at] > values[best] { at } else { best },
    )
}

/// Probabilities of the classes, as certain as the temperature says.
pub(crate) fn probabilities(logits: &[f32], temperature: f64) -> Vec<f64> {
    softmax_with_temperature(logits, temperature)
}

/// The settings of a training in the network's own words; all problems are named at once.
pub(crate) fn options(parameters: &TrainParameters) -> Result<TrainOptions, Failure> {
    let settings = &parameters.network;
    let mut problems = Vec::new();
    let known = Family::ALL.map(Family::name).join(", ");
    let family = named::<Family>("family", &settings.family, &known, &mut problems);
    let rate = family.unwrap_or_default().learning_rate();
    let begins_with_weights = settings.weights.is_some();
    let scale = named::<Scale>(
        "scale",
        &settings.scale,
        "small, normal, big",
        &mut problems,
    );
    let weights = "none, balanced, square_root";
    let class_weights = named::<ClassWeights>(
        "class_weights",
        &settings.class_weights,
        weights,
        &mut problems,
    );
    let augment = if settings.augment {
        Augment::default()
    } else {
        Augment::NONE
    };
    let options = TrainOptions {
        family: family.unwrap_or_default(),
        scale: scale.unwrap_or_default(),
        side: parameters.resize as usize,
        n_classes: parameters.types.len(),
        features: settings.features as usize,
        epochs: settings.epochs,
        batch: settings.batch as usize,
        learning_rate: settings.learning_rate.unwrap_or(rate),
        weight_decay: settings.weight_decay,
        // A warm-up longer than the training would never end.
        warm_up_epochs: (settings.warm_up_epochs.round() as u32).min(settings.epochs),
        label_smoothing: settings.label_smoothing,
        class_weights: class_weights.unwrap_or_default(),
        augment,
        dropout: settings.dropout,
        seed: parameters.seed,
        patience: settings.patience,
        gray: settings.gray,
        ema: settings.ema,
        mixup: settings.mixup,
        body_rate: match settings.body_rate {
            Some(it) => it,
            None if begins_with_weights => PRETRAINED_BODY_RATE,
            None => 1.0,
        },
        // A fresh head would teach the body nonsense at first.
        head_epochs: u32::from(begins_with_weights && settings.epochs > 1),
        ..TrainOptions::default()
    };
    problems.extend(options.problems());
    if problems.is_empty() {
        return Ok(options);
    }
    Err(Failure::Permanent {
        what: format!("the training's settings can't be: {}", problems.join("; ")),
        source: None,
    })
}

fn named<T: serde::de::DeserializeOwned>(
    name: &str,
    value: &str,
    known: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    let parsed = serde_json::from_value(serde_json::Value::String(value.to_owned()));
    if parsed.is_err() {
        problems.push(format!("{name} is `{value}`, it is one of {known}"));
    }
    parsed.ok()
}

/// Weights from elsewhere.
#[derive(Debug)]
pub(crate) struct Weights(Foreign);

impl Weights {
    pub(crate) fn of_bytes(bytes: &[u8]) -> Result<Self, Cause> {
        Ok(Self(weights::read(bytes)?))
    }

    /// The options of a training that begins with them, and how many values of its network they set.
    pub(crate) fn fitted(&self, options: TrainOptions) -> Result<(TrainOptions, Fit), Cause> {
        let report = options.fit(&self.0)?;
        let fit = Fit {
            source: format!("{}, {}", report.source, self.0.format()),
            n_values: report.loaded.len() as u64,
        };
        Ok((options.with_weights(&self.0)?, fit))
    }
}

/// What weights are to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Whose names they have, and the kind of file: `torchvision, PyTorch`.
    pub(crate) source: String,
    pub(crate) n_values: u64,
}

/// One step of a training, told while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) epoch: u32,
    /// Of the whole training, 0 to 1.
    pub(crate) done: f64,
    pub(crate) loss: f64,
}

/// A training between two epochs.
#[derive(Debug)]
pub(crate) struct Training(Trainer);

/// A training that came to its end.
#[derive(Debug)]
pub(crate) struct Learned {
    /// With the weights of the best epoch.
    pub(crate) network: Network,
    pub(crate) epochs: Vec<EpochFigures>,
    /// From 1.
    pub(crate) best_epoch: u32,
    /// Why not all epochs were run.
    pub(crate) ended_early: Option<&'static str>,
    pub(crate) profile: Profile,
    /// Of single steps, when they were kept.
    pub(crate) trace: Vec<TraceEvent>,
}

impl Training {
    /// `weights` are those that the options name, if they name some.
    pub(crate) fn begin(
        options: TrainOptions,
        train: Samples,
        validation: Samples,
        device: &OpenDevice,
        weights: Option<&Weights>,
    ) -> Result<Self, Cause> {
        Ok(Self(match weights {
            Some(it) => Trainer::with_weights(options, train, validation, device, &it.0)?,
            None => Trainer::new(options, train, validation, device)?,
        }))
    }

    /// Goes on from a checkpoint of the same training, to the same bits.
    pub(crate) fn resume(
        options: TrainOptions,
        train: Samples,
        validation: Samples,
        device: &OpenDevice,
        checkpoint: &[u8],
    ) -> Result<Self, Cause> {
        let trainer = Trainer::resume(options, train, validation, device, checkpoint)?;
        Ok(Self(trainer))
    }

    pub(crate) fn checkpoint(&mut self) -> Result<Vec<u8>, Cause> {
        Ok(self.0.checkpoint()?)
    }

    pub(crate) const fn epochs_done(&self) -> u32 {
        self.0.epochs_done()
    }

    /// Keeps what each step took, from now on.
    pub(crate) fn keep_trace(&mut self) {
        self.0.keep_trace();
    }

    /// Is the last epoch done the best so far?
    pub(crate) fn is_at_its_best(&self) -> bool {
        self.0.best_epoch() == Some(self.0.epochs_done())
    }

    /// Time that its epochs took.
    pub(crate) const fn spent(&self) -> Duration {
        self.0.spent()
    }

    /// Are all epochs done, or has the patience run out?
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// What is known of the last epoch.
    pub(crate) fn last_epoch(&self) -> Option<EpochFigures> {
        self.0.reports().last().map(figures)
    }

    /// One epoch. `Ok(None)`: `watch` broke it off, and it is as if it had never begun.
    pub(crate) fn epoch(
        &mut self,
        watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Option<EpochFigures>, Cause> {
        let all = f64::from(self.0.options().epochs);
        let report = self.0.epoch(&mut |step| {
            let of_epoch = step.step as f64 / step.n_steps as f64;
            watch(Step {
                epoch: step.epoch,
                done: (f64::from(step.epoch - 1) + of_epoch) / all,
                loss: step.loss,
            })
        })?;
        Ok(report.as_ref().map(figures))
    }

    /// The network of the best epoch. `broken_off`: why, when it was.
    pub(crate) fn finish(self, broken_off: Option<&'static str>) -> Result<Learned, Cause> {
        let is_whole = self.0.epochs_done() == self.0.options().epochs;
        let early = if self.0.is_finished() {
            Some("patience")
        } else {
            broken_off
        };
        Ok(Learned {
            best_epoch: self.0.best_epoch().unwrap_or(0),
            epochs: self.0.reports().iter().map(figures).collect(),
            profile: *self.0.profile(),
            trace: self.0.trace().to_vec(),
            network: Network(self.0.finish()?),
            ended_early: early.filter(|_| !is_whole),
        })
    }
}

fn figures(report: &EpochReport) -> EpochFigures {
    EpochFigures {
        epoch: report.epoch,
        learning_rate: report.learning_rate,
        train_loss: report.train_loss,
        train_accuracy: report.train_accuracy,
        validation: Measured::of(&report.confusion, report.validation_loss),
        is_best: report.is_best,
    }
}

/// The mean loss of the logits, `None` without any.
pub(crate) fn loss(logits: &[Vec<f32>], labels: &[usize]) -> Option<f64> {
    (!labels.is_empty()).then(|| negative_log_likelihood(logits, labels))
}

/// What a colour histogram with logistic regression makes of the same cells.
pub(crate) fn baseline(
    train: &Samples,
    judged: &Samples,
    n_classes: usize,
    gray: bool,
) -> Confusion {
    // Judged fairly: it sees no more than the network does.
    let rows = |it: &Samples| {
        if gray {
            histograms(&it.to_grey())
        } else {
            histograms(it)
        }
    };
    let fitted = LogisticRegression::fit(
        &rows(train),
        train.labels(),
        n_classes,
        FitOptions::default(),
    );
    let mut confusion = Confusion::new(n_classes);
    for (row, &label) in rows(judged).iter().zip(judged.labels()) {
        confusion.add(label, fitted.class(row));
    }
    confusion
}

/// The temperature that fits the validation part, `None` without one.
pub(crate) fn calibration(logits: &[Vec<f32>], labels: &[usize]) -> Option<Calibration> {
    if labels.is_empty() {
        return None;
    }
    let error = |temperature: f64| {
        let rows = logits.iter().map(|it| probabilities(it, temperature));
        expected_calibration_error(&rows.collect::<Vec<_>>(), labels)
    };
    let found = temperature(logits, labels);
    Some(Calibration {
        temperature: found,
        error_before: error(1.0),
        error_after: error(found),
    })
}

/// Of two classes: a threshold for each recall of the second from .50 to 1.00. Empty for other numbers of classes, and
/// when there is none of the second.
pub(crate) fn thresholds(
    logits: &[Vec<f32>],
    labels: &[usize],
    temperature: f64,
) -> Vec<Threshold> {
    if logits.first().is_none_or(|it| it.len() != 2) {
        return Vec::new();
    }
    let scores: Vec<f64> = logits
        .iter()
        .map(|it| probabilities(it, temperature)[1])
        .collect();
    let is_positive: Vec<bool> = labels.iter().map(|it| *it == 1).collect();
    let kept = (50..=100).map(|it| f64::from(it) / 100.0);
    let found = kept.filter_map(|recall| {
        let it = threshold_for_recall(&scores, &is_positive, recall)?;
        Some(Threshold {
            recall,
            // Down to what JSON keeps exactly: a cell on the threshold must not fall below it when the card is read.
            threshold: (it.threshold * 1e6).floor() / 1e6,
            precision: it.precision,
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use cellmill_core::ids::Dir;
    use cellmill_core::split::SplitRule;
    use cellmill_core::training::NetworkSettings;

    use super::*;

    /// The settings that a job record holds and the options that were measured are one.
    #[test]
    fn what_nobody_chose_is_what_was_measured() {
        let parameters = TrainParameters {
            network: NetworkSettings::default(),
            ..crate::tests::training(&[1, 2])
        };
        let defaults = TrainOptions::default();
        let expected = TrainOptions {
            side: parameters.resize as usize,
            seed: parameters.seed,
            ..defaults
        };
        assert_eq!(options(&parameters).unwrap(), expected);
    }

    #[test]
    fn settings_are_translated_and_all_problems_named() {
        let mut parameters = TrainParameters {
            ddir: Dir::parse("DkxD9Kjl").unwrap(),
            did: 1,
            mid: 100,
            types: vec![301, 302, 303],
            merge: Vec::new(),
            resize: 48,
            time: 0,
            split: SplitRule::Case,
            seed: 9,
            network: NetworkSettings::default(),
            propose_for: None,
            shuffle_labels: false,
            profile: false,
        };
        let made = options(&parameters).unwrap();
        assert_eq!((made.side, made.n_classes, made.seed), (48, 3, 9));
        assert_eq!(name_of(made.scale), parameters.network.scale);
        assert_eq!(name_of(made.class_weights), "square_root");
        parameters.network.scale = "huge".to_owned();
        parameters.network.batch = 0;
        parameters.resize = 4;
        let Err(Failure::Permanent { what, .. }) = options(&parameters) else {
            panic!("settings that can't be");
        };
        for part in ["scale is `huge`", "batch is 0", "side is 4"] {
            assert!(what.contains(part), "{what}");
        }
    }

    #[test]
    fn thresholds_are_for_two_classes_and_fall_with_the_recall() {
        let logits: Vec<Vec<f32>> = (0..40)
            .map(|it| vec![0.0, it as f32 / 10.0 - 2.0])
            .collect();
        let labels: Vec<usize> = (0..40)
            .map(|it| usize::from(it % 3 > 0 && it > 10))
            .collect();
        let found = thresholds(&logits, &labels, 1.0);
        assert_eq!(found.len(), 51);
        assert!(found.is_sorted_by(|a, b| a.threshold >= b.threshold && a.recall < b.recall));
        assert!(thresholds(&logits, &[0; 40], 1.0).is_empty());
        assert!(thresholds(&[vec![0.0; 3]], &[1], 1.0).is_empty());
    }
}
