//! How good a classifier is: counts of truth against prediction, and what follows from them.

use serde::{Deserialize, Serialize};

/// A confusion matrix of `n` classes: rows are the truth, columns the prediction.
///
/// ```
/// use cellmill_core::metrics::Confusion;
/// let mut it = Confusion::new(2);
/// it.add(0, 0);
/// it.add(1, 0);
/// assert_eq!((it.accuracy(), it.balanced_accuracy()), (0.5, 0.5));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct Confusion {
    n: usize,
    /// Row by row.
    counts: Vec<u64>,
}

/// Precision, recall and F1 of one class, each 0 where it is not defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// How many are of this class in truth.
    pub support: u64,
    /// How many were said to be of it.
    pub predicted: u64,
}

impl Confusion {
    pub fn new(n: usize) -> Self {
        Self {
            n,
            counts: vec![0; n * n],
        }
    }

    pub const fn n_classes(&self) -> usize {
        self.n
    }

    /// Counts one case. Panics when a class is not below the number of classes.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        self.add_times(truth, predicted, 1);
    }

    /// Counts `n` cases that are alike.
    pub fn add_times(&mut self, truth: usize, predicted: usize, n: u64) {
        assert!(truth < self.n && predicted < self.n, "class out of range");
        self.counts[truth * self.n + predicted] += n;
    }

    pub fn get(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.n + predicted]
    }

    pub fn row(&self, truth: usize) -> &[u64] {
        &self.counts[truth * self.n..(truth + 1) * self.n]
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn n_correct(&self) -> u64 {
        (0..self.n).map(|it| self.get(it, it)).sum()
    }

    /// The part that is right; 0 when nothing was counted.
    pub fn accuracy(&self) -> f64 {
        ratio(self.n_correct(), self.total())
    }

    /// The mean recall of the classes that occur in truth.
    pub fn balanced_accuracy(&self) -> f64 {
        mean(self.occurring().map(|it| it.recall))
    }

    /// The mean F1 of the classes that occur in truth or prediction.
    pub fn macro_f1(&self) -> f64 {
        let seen = self.per_class().into_iter();
        mean(
            seen.filter(|it| it.support + it.predicted > 0)
                .map(|it| it.f1),
        )
    }

    /// The accuracy of always saying the class that is most frequent in truth.
    pub fn majority_accuracy(&self) -> f64 {
        let most = (0..self.n).map(|it| self.row(it).iter().sum()).max();
        ratio(most.unwrap_or(0), self.total())
    }

    pub fn per_class(&self) -> Vec<ClassMetrics> {
        (0..self.n).map(|it| self.class(it)).collect()
    }

    fn occurring(&self) -> impl Iterator<Item = ClassMetrics> {
        self.per_class().into_iter().filter(|it| it.support > 0)
    }

    fn class(&self, class: usize) -> ClassMetrics {
        let right = self.get(class, class);
        let support = self.row(class).iter().sum();
        let predicted = (0..self.n).map(|truth| self.get(truth, class)).sum();
        ClassMetrics {
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, support + predicted),
            support,
            predicted,
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0_u32), |(sum, n), it| (sum + it, n + 1));
    if n == 0 { 0.0 } else { sum / f64::from(n) }
}

/// A matrix that is not square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a confusion matrix of {rows} rows has a row of {columns}")]
pub struct NotSquare {
    rows: usize,
    columns: usize,
}

impl TryFrom<Vec<Vec<u64>>> for Confusion {
    type Error = NotSquare;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self, NotSquare> {
        let n = rows.len();
        match rows.iter().find(|it| it.len() != n) {
            Some(odd) => Err(NotSquare {
                rows: n,
                columns: odd.len(),
            }),
            None => Ok(Self {
                n,
                counts: rows.concat(),
            }),
        }
    }
}

impl From<Confusion> for Vec<Vec<u64>> {
    fn from(it: Confusion) -> Self {
        (0..it.n).map(|truth| it.row(truth).to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes, the last never seen; worked out by hand.
    fn sample() -> Confusion {
        let mut it = Confusion::new(3);
        for (truth, predicted, times) in [(0, 0, 8), (0, 1, 2), (1, 1, 3), (1, 0, 1)] {
            for _ in 0..times {
                it.add(truth, predicted);
            }
        }
        it
    }

    #[test]
    fn the_figures_are_those_worked_out_by_hand() {
        let it = sample();
        assert_eq!((it.total(), it.n_correct()), (14, 11));
        assert!((it.balanced_accuracy() - f64::midpoint(0.8, 0.75)).abs() < 1e-12);
        let f1 = [16.0 / 19.0, 6.0 / 9.0];
        assert!((it.macro_f1() - f64::midpoint(f1[0], f1[1])).abs() < 1e-12);
        assert!((it.majority_accuracy() - 10.0 / 14.0).abs() < 1e-12);
        assert_eq!(it.per_class()[2], ClassMetrics::default());
    }

    #[test]
    fn nothing_counted_gives_zeros_not_nan() {
        let it = Confusion::new(2);
        assert_eq!(
            (it.accuracy(), it.macro_f1(), it.balanced_accuracy()),
            (0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn it_is_written_as_rows_and_must_be_square() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(text, "[[8,2,0],[1,3,0],[0,0,0]]");
        assert_eq!(serde_json::from_str::<Confusion>(&text).unwrap(), sample());
        assert!(serde_json::from_str::<Confusion>("[[1,2],[3]]").is_err());
    }
}
