//! The loss of training.

pub(crate) use crate::kernels::loss::log_softmax;
pub use crate::kernels::loss::{Loss, cross_entropy};
use serde::{Deserialize, Serialize};

/// How classes are weighted against their frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All alike.
    None,
    /// By 1 / frequency: each class counts the same in all.
    Balanced,
    /// By the root of that: rare classes are lifted without ruling the loss.
    #[default]
    SquareRoot,
}

impl ClassWeights {
    /// A weight a class, scaled so that the mean over samples is 1. A class without samples gets 0.
    pub fn of(self, counts: &[usize]) -> Vec<f32> {
        let raw: Vec<f64> = counts
            .iter()
            .map(|count| match (self, *count) {
                (_, 0) => 0.0,
                (Self::None, _) => 1.0,
                (Self::Balanced, n) => 1.0 / n as f64,
                (Self::SquareRoot, n) => 1.0 / (n as f64).sqrt(),
            })
            .collect();
        let total: usize = counts.iter().sum();
        let weighted: f64 = raw.iter().zip(counts).map(|(w, n)| w * *n as f64).sum();
        raw.iter()
            .map(|it| (it * total as f64 / weighted) as f32)
            .collect()
    }
}

/// What a row of the logits should have said: mostly one label, partly another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixedLabel {
    pub label: usize,
    pub other: usize,
    /// The part of `label`; the rest is of `other`.
    pub share: f64,
}

/// [`cross_entropy`] with two labels a row: each row's loss and weight is the mean of those of its labels, by their
/// shares.
pub fn mixed_cross_entropy(
    logits: &[f32],
    labels: &[MixedLabel],
    weights: &[f32],
    smoothing: f64,
) -> Loss {
    let n_classes = weights.len();
    let weights: Vec<f64> = weights.iter().map(|it| f64::from(*it)).collect();
    let weight =
        |it: &MixedLabel| it.share * weights[it.label] + (1.0 - it.share) * weights[it.other];
    let total: f64 = labels.iter().map(weight).sum();
    let mut value = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, it) in logits.chunks_exact(n_classes).zip(labels) {
        let log_p = log_softmax(row);
        let part = |class: usize| {
            let of = |label: usize, share: f64| if class == label { share } else { 0.0 };
            let hit = of(it.label, it.share) + of(it.other, 1.0 - it.share);
            weights[class] * (hit * (1.0 - smoothing) + smoothing / n_classes as f64) / total
        };
        let all: f64 = (0..n_classes).map(part).sum();
        for (class, log_p) in log_p.iter().enumerate() {
            value -= part(class) * log_p;
            gradient.push((all * log_p.exp() - part(class)) as f32);
        }
    }
    Loss { value, gradient }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [0.3, -1.2, 2.0, 0.1, 0.4, -0.7];
    const WEIGHTS: [f32; 3] = [0.5, 1.0, 2.0];

    fn mixed(share: f64) -> [MixedLabel; 2] {
        let label = |label, other| MixedLabel {
            label,
            other,
            share,
        };
        [label(2, 0), label(1, 2)]
    }

    #[test]
    fn a_whole_share_is_the_plain_loss_and_none_is_that_of_the_other() {
        for (share, labels) in [(1.0, [2, 1]), (0.0, [0, 2])] {
            let plain = cross_entropy(&LOGITS, &labels, &WEIGHTS, 0.1);
            let mixed = mixed_cross_entropy(&LOGITS, &mixed(share), &WEIGHTS, 0.1);
            assert!((plain.value - mixed.value).abs() < 1e-12);
            for (a, b) in plain.gradient.iter().zip(&mixed.gradient) {
                assert!((a - b).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn the_gradient_of_a_mixed_loss_is_that_of_its_value() {
        let loss = |logits: &[f32]| mixed_cross_entropy(logits, &mixed(0.7), &WEIGHTS, 0.1);
        let found = loss(&LOGITS).gradient;
        for at in 0..LOGITS.len() {
            let value = |by: f32| {
                let mut logits = LOGITS;
                logits[at] += by;
                loss(&logits).value
            };
            let slope = (value(1e-2) - value(-1e-2)) / 2e-2;
            assert!((f64::from(found[at]) - slope).abs() < 1e-4, "{at}");
        }
    }

    #[test]
    fn weights_lift_rare_classes_and_keep_the_mean() {
        assert_eq!(ClassWeights::None.of(&[3, 0, 1]), [1.0, 0.0, 1.0]);
        let balanced = ClassWeights::Balanced.of(&[9, 1]);
        assert!((balanced[1] / balanced[0] - 9.0).abs() < 1e-5);
        let root = ClassWeights::SquareRoot.of(&[9, 1]);
        assert!((root[1] / root[0] - 3.0).abs() < 1e-5);
        assert!((root[0] * 0.9 + root[1] * 0.1 - 1.0).abs() < 1e-6);
    }
}
