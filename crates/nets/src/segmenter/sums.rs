//! The Dice overlap of probabilities and truth, which is of a whole batch.

use super::truth::{SeenCells, UNKNOWN};

/// Keeps the overlap of classes that are not there a number.
const SMOOTH: f64 = 1e-5;

/// What the Dice overlap of a batch is made of, by class.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    shared: Vec<f64>,
    predicted: Vec<f64>,
    truth: Vec<f64>,
    pub(super) n_known: f64,
}

impl Sums {
    fn zero(n_classes: usize) -> Self {
        Self {
            shared: vec![0.0; n_classes],
            predicted: vec![0.0; n_classes],
            truth: vec![0.0; n_classes],
            n_known: 0.0,
        }
    }

    pub(super) fn of(answers: &[f32], n_classes: usize, seen: &SeenCells) -> Self {
        let mut sums = Self::zero(n_classes);
        let mut parts = vec![0.0; n_classes];
        for (answer, class) in answers.chunks_exact(n_classes + 1).zip(&seen.classes) {
            if *class == UNKNOWN {
                continue;
            }
            probabilities(&answer[..n_classes], &mut parts);
            let class = *class as usize;
            sums.n_known += 1.0;
            sums.truth[class] += 1.0;
            sums.shared[class] += parts[class];
            for (sum, part) in sums.predicted.iter_mut().zip(&parts) {
                *sum += part;
            }
        }
        sums
    }

    pub(super) fn total(all: &[Self], n_classes: usize) -> Self {
        let mut total = Self::zero(n_classes);
        for it in all {
            total.n_known += it.n_known;
            for class in 0..n_classes {
                total.shared[class] += it.shared[class];
                total.predicted[class] += it.predicted[class];
                total.truth[class] += it.truth[class];
            }
        }
        total
    }

    /// 1 - the overlap, the mean over the classes that are shown, times a weight; and for each class its slopes in a
    /// pixel's probability: where the pixel is of another class, and what is added where it is of this one.
    pub(super) fn dice(&self, weight: f64) -> (f64, Vec<[f64; 2]>) {
        let n_classes = self.truth.len();
        let shown: Vec<usize> = (1..n_classes).filter(|it| self.truth[*it] > 0.0).collect();
        let weight = weight / shown.len().max(1) as f64;
        let mut slopes = vec![[0.0; 2]; n_classes];
        let mut value = 0.0;
        for class in shown {
            let of_both = self.predicted[class] + self.truth[class] + SMOOTH;
            let overlap = (2.0 * self.shared[class] + SMOOTH) / of_both;
            value += weight * (1.0 - overlap);
            slopes[class] = [weight * overlap / of_both, -2.0 * weight / of_both];
        }
        (value, slopes)
    }
}

/// The softmax of logits.
pub(super) fn probabilities(logits: &[f32], out: &mut [f64]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (out, logit) in out.iter_mut().zip(logits) {
        *out = f64::from((logit - largest).exp());
        sum += *out;
    }
    for it in out {
        *it /= sum;
    }
}
