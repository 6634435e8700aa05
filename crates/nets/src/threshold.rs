//! A threshold for two classes that keeps a promised recall.

use serde::{Deserialize, Serialize};

/// A threshold on the positive class's probability and what it gives on the samples that it was chosen on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Call positive what is at or above it.
    pub threshold: f64,
    pub recall: f64,
    pub precision: f64,
}

/// The highest threshold at which the recall of the positives is at least `target`, or `None` without a
/// positive. Equal scores fall on the same side.
pub fn threshold_for_recall(
    scores: &[f64],
    is_positive: &[bool],
    target: f64,
) -> Option<Threshold> {
    let mut ranked: Vec<(f64, bool)> = scores
        .iter()
        .copied()
        .zip(is_positive.iter().copied())
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n_positive = ranked.iter().filter(|it| it.1).count();
    if n_positive == 0 {
        return None;
    }
    let mut hits = 0;
    for (at, (score, positive)) in ranked.iter().enumerate() {
        hits += usize::from(*positive);
        let ends_a_tie = ranked.get(at + 1).is_none_or(|next| next.0 < *score);
        let recall = hits as f64 / n_positive as f64;
        if ends_a_tie && hits > 0 && recall >= target {
            return Some(Threshold {
                threshold: *score,
                recall,
                precision: hits as f64 / (at + 1) as f64,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_threshold_that_keeps_the_recall_is_chosen() {
        let scores = [0.9, 0.8, 0.8, 0.6, 0.4, 0.2];
        let truth = [true, false, true, false, true, false];
        let at = |target| threshold_for_recall(&scores, &truth, target).unwrap();
        assert!((at(0.3).threshold - 0.9).abs() < 1e-12 && (at(0.3).precision - 1.0).abs() < 1e-12);
        // The two of 0.8 come together.
        let both = at(0.5);
        assert!((both.threshold - 0.8).abs() < 1e-12 && (both.precision - 2.0 / 3.0).abs() < 1e-12);
        let all = at(1.0);
        assert!((all.threshold - 0.4).abs() < 1e-12 && (all.precision - 0.6).abs() < 1e-12);
        assert_eq!(threshold_for_recall(&scores, &[false; 6], 0.5), None);
        assert_eq!(threshold_for_recall(&[], &[], 0.5), None);
    }
}
