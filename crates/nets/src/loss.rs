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

#[cfg(test)]
mod tests {
    use super::*;

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
