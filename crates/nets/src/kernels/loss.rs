//! Cross-entropy of softmax, with class weights and label smoothing; in `f64`, since a batch is small.

/// The loss of a batch and its gradient in the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    pub value: f64,
    pub gradient: Vec<f32>,
}

/// The natural logarithm of softmax of one row.
pub(crate) fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let shifted = logits.iter().map(|it| f64::from(*it) - f64::from(largest));
    let sum: f64 = shifted.clone().map(f64::exp).sum();
    shifted.map(|it| it - sum.ln()).collect()
}

/// The definition of `PyTorch`'s `CrossEntropyLoss(weight, label_smoothing)` with mean reduction: with the
/// label y of a sample, weights w, C classes and smoothing e,
/// `sum_i [(1 - e) w_y nll_y + e / C * sum_c w_c nll_c] / sum_i w_y`.
pub fn cross_entropy(logits: &[f32], labels: &[usize], weights: &[f32], smoothing: f64) -> Loss {
    let n_classes = weights.len();
    let weights: Vec<f64> = weights.iter().map(|it| f64::from(*it)).collect();
    let total: f64 = labels.iter().map(|it| weights[*it]).sum();
    let mut value = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, label) in logits.chunks_exact(n_classes).zip(labels) {
        let log_p = log_softmax(row);
        let share = |class: usize| {
            let hit = if class == *label {
                1.0 - smoothing
            } else {
                0.0
            };
            weights[class] * (hit + smoothing / n_classes as f64) / total
        };
        let all: f64 = (0..n_classes).map(share).sum();
        for (class, log_p) in log_p.iter().enumerate() {
            value -= share(class) * log_p;
            gradient.push((all * log_p.exp() - share(class)) as f32);
        }
    }
    Loss { value, gradient }
}
