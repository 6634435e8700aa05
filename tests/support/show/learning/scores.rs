//! How good answers are, counted by the plainest code there is.

use std::collections::{BTreeMap, BTreeSet};

/// Answers against the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// By truth and answer.
    counts: BTreeMap<(u32, u32), u64>,
}

impl Scores {
    /// Of pairs of truth and answer.
    pub fn of(pairs: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut counts = BTreeMap::new();
        for pair in pairs {
            *counts.entry(pair).or_default() += 1;
        }
        Self { counts }
    }

    fn sum(&self, wanted: impl Fn(u32, u32) -> bool) -> f64 {
        let counted = self.counts.iter().filter(|((t, a), _)| wanted(*t, *a));
        counted.map(|(_, n)| *n as f64).sum()
    }

    pub fn n(&self) -> usize {
        self.sum(|_, _| true) as usize
    }

    /// Classes that occur in truth.
    pub fn truths(&self) -> BTreeSet<u32> {
        self.counts.keys().map(|it| it.0).collect()
    }

    /// How many are of each class in truth.
    pub fn by_truth(&self) -> BTreeMap<u32, usize> {
        let count = |class| (class, self.sum(|truth, _| truth == class) as usize);
        self.truths().into_iter().map(count).collect()
    }

    pub fn accuracy(&self) -> f64 {
        self.sum(|truth, answer| truth == answer) / self.sum(|_, _| true)
    }

    /// The accuracy of always saying the class that is most frequent in truth.
    pub fn majority(&self) -> f64 {
        let most = self.by_truth().into_values().max().unwrap_or(0);
        most as f64 / self.sum(|_, _| true)
    }

    /// The mean recall of the classes that occur in truth.
    pub fn balanced_accuracy(&self) -> f64 {
        let recall = |class| {
            self.sum(|truth, answer| truth == class && answer == class)
                / self.sum(|truth, _| truth == class)
        };
        mean(self.truths().into_iter().map(recall))
    }

    /// The mean F1 of the classes that occur in truth or answer.
    pub fn macro_f1(&self) -> f64 {
        let seen: BTreeSet<u32> = self.counts.keys().flat_map(|it| [it.0, it.1]).collect();
        let f1 = |class| {
            let right = self.sum(|truth, answer| truth == class && answer == class);
            let of_truth = self.sum(|truth, _| truth == class);
            2.0 * right / (of_truth + self.sum(|_, answer| answer == class))
        };
        mean(seen.into_iter().map(f1))
    }

    /// Rows: truth; columns: answer; in this order.
    pub fn matrix(&self, classes: &[u32]) -> Vec<Vec<u64>> {
        let count = |truth, answer| self.counts.get(&(truth, answer)).copied().unwrap_or(0);
        let row = |&truth| classes.iter().map(|&answer| count(truth, answer)).collect();
        classes.iter().map(row).collect()
    }
}

/// NaN when there is nothing: what could not be measured is not enough.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_worked_out_by_hand() {
        let pairs = [
            vec![(1, 1); 8],
            vec![(1, 2); 2],
            vec![(2, 2); 3],
            vec![(2, 1)],
        ];
        let scores = Scores::of(pairs.concat());
        assert_eq!(scores.n(), 14);
        assert!((scores.accuracy() - 11.0 / 14.0).abs() < 1e-12);
        assert!((scores.majority() - 10.0 / 14.0).abs() < 1e-12);
        assert!((scores.balanced_accuracy() - f64::midpoint(0.8, 0.75)).abs() < 1e-12);
        assert!((scores.macro_f1() - f64::midpoint(16.0 / 19.0, 6.0 / 9.0)).abs() < 1e-12);
        assert_eq!(scores.matrix(&[1, 2]), [[8, 2], [1, 3]]);
    }

    #[test]
    fn nothing_is_not_good() {
        assert!(Scores::default().balanced_accuracy().is_nan());
    }
}
