//! What the algorithms want of networks that answer, and the arithmetic around it. How they learn: `learning`.
//!
//! Beside the device, nothing else in this package than these two knows what networks are made with.

use cellmill_core::metrics::Confusion;
use cellmill_core::model::{Calibration, ModelInput, Threshold};
use cellmill_nets::{
    Classifier, FitOptions, LogisticRegression, N_VIEWS, OpenDevice, Scored,
    expected_calibration_error, histograms, negative_log_likelihood, softmax_with_temperature,
    temperature, threshold_for_recall,
};
use cellmill_worker::Cause;

pub(crate) use cellmill_nets::{Samples, instruction_set};

/// Pictures that are computed at once: enough to keep all threads busy.
const BATCH: usize = 128;

/// A network that answers.
#[derive(Debug)]
pub(crate) struct Network(pub(crate) Classifier);

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
pub(crate) fn name_of(it: impl serde::Serialize) -> String {
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
    use super::*;

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
