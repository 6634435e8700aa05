//! Calibration: probabilities that mean what they say.

use crate::loss::log_softmax;

/// Softmax of the logits divided by a temperature above 0; a higher one gives less certain probabilities.
pub fn softmax_with_temperature(logits: &[f32], temperature: f64) -> Vec<f64> {
    let divided: Vec<f64> = logits
        .iter()
        .map(|it| f64::from(*it) / temperature)
        .collect();
    let largest = divided.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = divided.iter().map(|it| (it - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|it| it / sum).collect()
}

/// Bounds of the search; outside of them a network knows nothing, or everything.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];

/// The temperature that makes the mean negative log-likelihood of the labels smallest (Guo et al. 2017). Take
/// logits of pictures that were not trained on. 1 when there are none.
///
/// The likelihood is concave in 1 / temperature, so bisection on the sign of its slope finds the one maximum.
pub fn temperature(logits: &[Vec<f32>], labels: &[usize]) -> f64 {
    if logits.is_empty() {
        return 1.0;
    }
    // The slope in b = 1 / temperature: the sum of (logit of the label - expected logit).
    let slope = |b: f64| -> f64 {
        let one = |(row, label): (&Vec<f32>, &usize)| {
            let p = softmax_with_temperature(row, 1.0 / b);
            let expected: f64 = p.iter().zip(row).map(|(p, it)| p * f64::from(*it)).sum();
            f64::from(row[*label]) - expected
        };
        logits.iter().zip(labels).map(one).sum()
    };
    let [mut low, mut high] = [1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]];
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if slope(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    2.0 / (low + high)
}

/// The mean negative log-likelihood of the labels at temperature 1; 0 when there are none.
pub fn negative_log_likelihood(logits: &[Vec<f32>], labels: &[usize]) -> f64 {
    let sum: f64 = logits
        .iter()
        .zip(labels)
        .map(|(row, label)| -log_softmax(row)[*label])
        .sum();
    sum / logits.len().max(1) as f64
}

/// Bins of [`expected_calibration_error`].
const BINS: usize = 15;

/// The mean distance between how sure the answers are and how often they are right, over 15 bins of equal
/// width, weighted by their counts (Naeini et al. 2015). 0 when there are no rows.
pub fn expected_calibration_error(probabilities: &[Vec<f64>], labels: &[usize]) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    for (row, label) in probabilities.iter().zip(labels) {
        let best = (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
        let bin = &mut bins[((row[best] * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += row[best];
        bin.1 += f64::from(u8::from(best == *label));
    }
    let gaps = bins
        .iter()
        .map(|(sure, right): &(f64, f64)| (sure - right).abs());
    gaps.sum::<f64>() / probabilities.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    /// Labels drawn from softmax of the logits: temperature 1 is right, and `k` times the logits need `k`.
    #[test]
    fn the_temperature_undoes_a_scale_of_the_logits() {
        let mut rng = Rng::new(1, Purpose::Synthetic, [0, 0]);
        let mut logits = Vec::new();
        let mut labels = Vec::new();
        for _ in 0..20_000 {
            let row: Vec<f32> = (0..3).map(|_| rng.normal() as f32).collect();
            let draw = rng.uniform();
            let p = softmax_with_temperature(&row, 1.0);
            labels.push(if draw < p[0] {
                0
            } else if draw < p[0] + p[1] {
                1
            } else {
                2
            });
            logits.push(row.iter().map(|it| it * 2.5).collect::<Vec<f32>>());
        }
        let found = temperature(&logits, &labels);
        assert!((found - 2.5).abs() < 0.1, "{found}");
        let error = |t: f64| {
            let p: Vec<_> = logits
                .iter()
                .map(|it| softmax_with_temperature(it, t))
                .collect();
            expected_calibration_error(&p, &labels)
        };
        assert!(
            error(found) < 0.02 && error(1.0) > 0.1,
            "{} {}",
            error(found),
            error(1.0)
        );
    }

    #[test]
    fn extremes_stay_finite() {
        let sure = vec![vec![1e30, -1e30]; 3];
        assert!(temperature(&sure, &[0, 0, 0]) >= 0.049);
        assert!(temperature(&sure, &[1, 1, 0]) <= 20.1);
        assert!((temperature(&[], &[]) - 1.0).abs() < 1e-12);
        assert_eq!(softmax_with_temperature(&[1e30, -1e30], 0.05), [1.0, 0.0]);
    }

    /// Worked out by hand: two answers of 0.9, one right; two of 0.6, both right.
    #[test]
    fn the_calibration_error_is_the_weighted_gap() {
        let rows = [
            vec![0.9, 0.1],
            vec![0.9, 0.1],
            vec![0.6, 0.4],
            vec![0.4, 0.6],
        ];
        let found = expected_calibration_error(&rows, &[0, 1, 0, 1]);
        assert!((found - (0.5 * 0.4 + 0.5 * 0.4)).abs() < 1e-12, "{found}");
        assert!(expected_calibration_error(&[], &[]).abs() < 1e-12);
    }
}
