//! The baseline that a network has to beat: colour histograms and logistic regression.

use crate::samples::Samples;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Levels of each channel in the joint histogram.
const JOINT: usize = 4;
/// Bins of each channel's own histogram.
const BINS: usize = 16;
/// Length of a histogram: three channels of 16 bins, then 4 x 4 x 4 joint bins, in parts of all pixels.
pub const HISTOGRAM_LEN: usize = 3 * BINS + JOINT * JOINT * JOINT;

/// The colour histogram of a picture.
pub fn histogram(pixels: &[u8]) -> Vec<f64> {
    let mut counts = vec![0_u32; HISTOGRAM_LEN];
    for pixel in pixels.chunks_exact(3) {
        let mut joint = 0;
        for (channel, value) in pixel.iter().enumerate() {
            let value = usize::from(*value);
            counts[channel * BINS + value * BINS / 256] += 1;
            joint = joint * JOINT + value * JOINT / 256;
        }
        counts[3 * BINS + joint] += 1;
    }
    let n = (pixels.len() / 3).max(1) as f64;
    counts.iter().map(|it| f64::from(*it) / n).collect()
}

/// Histograms of all samples, row after row.
pub fn histograms(samples: &Samples) -> Vec<Vec<f64>> {
    (0..samples.len())
        .into_par_iter()
        .map(|at| histogram(samples.picture(at)))
        .collect()
}

/// Multinomial logistic regression over standardised columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticRegression {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// A row a class: a weight a column, then the intercept.
    weights: Vec<Vec<f64>>,
}

/// Settings of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// The inverse strength of the penalty on the squares of the weights (intercepts are free).
    pub c: f64,
    /// Weight samples by the inverse frequency of their class.
    pub balanced: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            c: 1.0,
            balanced: false,
        }
    }
}

impl LogisticRegression {
    /// Fits by L-BFGS to `C * sum of losses + |w|^2 / 2`; deterministic. Labels are below `n_classes`.
    pub fn fit(rows: &[Vec<f64>], labels: &[usize], n_classes: usize, options: FitOptions) -> Self {
        let n_columns = rows.first().map_or(0, Vec::len);
        let n = rows.len().max(1) as f64;
        let column_mean = |at: usize| rows.iter().map(|it| it[at]).sum::<f64>() / n;
        let mean: Vec<f64> = (0..n_columns).map(column_mean).collect();
        let deviation = (0..n_columns).map(|at| {
            let variance = rows
                .iter()
                .map(|it| (it[at] - mean[at]).powi(2))
                .sum::<f64>()
                / n;
            // A constant column stays 0.
            if variance < 1e-24 {
                1.0
            } else {
                variance.sqrt()
            }
        });
        let mut it = Self {
            deviation: deviation.collect(),
            mean,
            weights: Vec::new(),
        };
        let problem = Problem {
            rows: rows.iter().map(|row| it.standardise(row)).collect(),
            labels,
            weights: sample_weights(labels, n_classes, options.balanced),
            n_classes,
            penalty: 1.0 / options.c,
        };
        let flat = minimise(&problem, vec![0.0; n_classes * (n_columns + 1)]);
        it.weights = flat
            .chunks_exact(n_columns + 1)
            .map(<[f64]>::to_vec)
            .collect();
        it
    }

    /// The standardised row, and 1 for the intercept.
    fn standardise(&self, row: &[f64]) -> Vec<f64> {
        let columns = row.iter().zip(self.mean.iter().zip(&self.deviation));
        let standard = columns.map(|(it, (mean, deviation))| (it - mean) / deviation);
        standard.chain([1.0]).collect()
    }

    /// Probabilities of the classes.
    pub fn predict(&self, row: &[f64]) -> Vec<f64> {
        let row = self.standardise(row);
        softmax(self.weights.iter().map(|it| dot(it, &row)).collect())
    }

    /// The most probable class, the first of equals.
    pub fn class(&self, row: &[f64]) -> usize {
        let p = self.predict(row);
        (1..p.len()).fold(0, |best, at| if p[at] > p[best] { at } else { best })
    }
}

fn sample_weights(labels: &[usize], n_classes: usize, balanced: bool) -> Vec<f64> {
    let mut counts = vec![0.0; n_classes];
    for label in labels {
        counts[*label] += 1.0;
    }
    let n_present = counts.iter().filter(|it| **it > 0.0).count() as f64;
    let weight = |label: &usize| {
        if balanced {
            labels.len() as f64 / (n_present * counts[*label])
        } else {
            1.0
        }
    };
    labels.iter().map(weight).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn softmax(mut values: Vec<f64>) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for it in &mut values {
        *it = (*it - largest).exp();
    }
    let sum: f64 = values.iter().sum();
    for it in &mut values {
        *it /= sum;
    }
    values
}

/// What is minimised: the weighted loss and the penalty.
struct Problem<'a> {
    rows: Vec<Vec<f64>>,
    labels: &'a [usize],
    weights: Vec<f64>,
    n_classes: usize,
    penalty: f64,
}

impl Problem<'_> {
    /// Value and gradient. Samples are cut into a fixed number of parts, added in order.
    fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let ranges: Vec<_> = crate::kernels::cut(self.rows.len(), 16).collect();
        let parts: Vec<(f64, Vec<f64>)> = ranges
            .into_par_iter()
            .map(|range| self.part(x, range))
            .collect();
        let (mut value, mut gradient) = (0.0, vec![0.0; x.len()]);
        for (part_value, part) in parts {
            value += part_value;
            gradient
                .iter_mut()
                .zip(part)
                .for_each(|(sum, it)| *sum += it);
        }
        let n = x.len() / self.n_classes;
        for (at, (x, gradient)) in x.iter().zip(&mut gradient).enumerate() {
            if at % n + 1 < n {
                value += self.penalty * x * x / 2.0;
                *gradient += self.penalty * x;
            }
        }
        (value, gradient)
    }

    fn part(&self, x: &[f64], range: std::ops::Range<usize>) -> (f64, Vec<f64>) {
        let n = x.len() / self.n_classes;
        let (mut value, mut gradient) = (0.0, vec![0.0; x.len()]);
        for at in range {
            let (row, label, weight) = (&self.rows[at], self.labels[at], self.weights[at]);
            let p = softmax(x.chunks_exact(n).map(|it| dot(it, row)).collect());
            value -= weight * p[label].max(f64::MIN_POSITIVE).ln();
            for (class, gradient) in gradient.chunks_exact_mut(n).enumerate() {
                let factor = weight * (p[class] - f64::from(u8::from(class == label)));
                gradient
                    .iter_mut()
                    .zip(row)
                    .for_each(|(sum, it)| *sum += factor * it);
            }
        }
        (value, gradient)
    }
}

/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 10;
/// As many as the usual tools allow before they warn.
const MAX_STEPS: usize = 2000;

/// L-BFGS with a backtracking line search (Nocedal and Wright, algorithms 7.4 and 3.1).
fn minimise(problem: &Problem<'_>, mut x: Vec<f64>) -> Vec<f64> {
    let (mut value, mut gradient) = problem.at(&x);
    let mut memory: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..MAX_STEPS {
        if gradient.iter().all(|it| it.abs() < 1e-5) {
            break;
        }
        let direction = descent(&memory, &gradient);
        let slope = dot(&direction, &gradient);
        let mut length = if memory.is_empty() {
            1.0 / dot(&gradient, &gradient).sqrt().max(1.0)
        } else {
            1.0
        };
        let found = std::iter::from_fn(|| {
            let next: Vec<f64> = x
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + length * d)
                .collect();
            let (next_value, next_gradient) = problem.at(&next);
            let enough = next_value <= value + 1e-4 * length * slope;
            length /= 2.0;
            Some((enough, next, next_value, next_gradient))
        })
        .take(40)
        .find(|it| it.0);
        // No shorter step is better: the limit of the arithmetic is reached.
        let Some((_, next, next_value, next_gradient)) = found else {
            break;
        };
        let minus =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        let pair = (minus(&next, &x), minus(&next_gradient, &gradient));
        if dot(&pair.0, &pair.1) > 1e-12 {
            memory.push(pair);
            if memory.len() > MEMORY {
                memory.remove(0);
            }
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// The direction of the two-loop recursion.
fn descent(memory: &[(Vec<f64>, Vec<f64>)], gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|it| -it).collect();
    let add = |q: &mut [f64], factor: f64, it: &[f64]| {
        q.iter_mut().zip(it).for_each(|(q, it)| *q += factor * it);
    };
    let mut factors = Vec::new();
    for (s, y) in memory.iter().rev() {
        let factor = dot(s, &q) / dot(s, y);
        add(&mut q, -factor, y);
        factors.push(factor);
    }
    if let Some((s, y)) = memory.last() {
        let scale = dot(s, y) / dot(y, y);
        for it in &mut q {
            *it *= scale;
        }
    }
    for ((s, y), factor) in memory.iter().zip(factors.iter().rev()) {
        let back = dot(y, &q) / dot(s, y);
        add(&mut q, factor - back, s);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    fn rows(n: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
        let mut rng = Rng::new(5, Purpose::Synthetic, [0, 0]);
        let labels: Vec<usize> = (0..n).map(|it| it % 3).collect();
        let row = |label: &usize| -> Vec<f64> {
            (0..4)
                .map(|at| rng.normal() + f64::from(u8::from(at == *label)))
                .collect()
        };
        (labels.iter().map(row).collect(), labels)
    }

    #[test]
    fn a_histogram_is_of_parts_of_the_pixels() {
        let it = histogram(&[0, 0, 0, 255, 16, 128]);
        assert_eq!(it.len(), HISTOGRAM_LEN);
        assert!((it.iter().sum::<f64>() - 4.0).abs() < 1e-12);
        assert!((it[0] - 0.5).abs() < 1e-12 && (it[15] - 0.5).abs() < 1e-12);
        assert!((it[BINS] - 0.5).abs() < 1e-12 && (it[BINS + 1] - 0.5).abs() < 1e-12);
        assert!(
            (it[3 * BINS] - 0.5).abs() < 1e-12 && (it[3 * BINS + 3 * 16 + 2] - 0.5).abs() < 1e-12
        );
    }

    #[test]
    fn at_the_fit_the_gradient_is_nothing_and_no_step_is_better() {
        let (rows, labels) = rows(300);
        for balanced in [false, true] {
            let options = FitOptions { c: 1.0, balanced };
            let fit = LogisticRegression::fit(&rows, &labels, 3, options);
            let problem = Problem {
                rows: rows.iter().map(|row| fit.standardise(row)).collect(),
                labels: &labels,
                weights: sample_weights(&labels, 3, balanced),
                n_classes: 3,
                penalty: 1.0,
            };
            let x = fit.weights.concat();
            let (value, gradient) = problem.at(&x);
            assert!(gradient.iter().all(|it| it.abs() < 1e-4), "{gradient:?}");
            for at in 0..x.len() {
                for step in [-0.05, 0.05] {
                    let mut moved = x.clone();
                    moved[at] += step;
                    assert!(problem.at(&moved).0 > value);
                }
            }
        }
    }

    #[test]
    fn it_learns_what_is_linear_and_survives_constant_columns() {
        let (mut rows, labels) = rows(600);
        for it in &mut rows {
            it.push(7.0);
        }
        let fit = LogisticRegression::fit(&rows, &labels, 3, FitOptions::default());
        let right = rows
            .iter()
            .zip(&labels)
            .filter(|(row, label)| fit.class(row) == **label)
            .count();
        assert!(right > 330, "{right} of 600, chance is 200");
        assert!((fit.predict(&rows[0]).iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
