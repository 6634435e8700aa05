//! Batch normalisation, with the rectifier that follows it in the same pass.

use super::{Activation, cut, held, kernel};
use rayon::prelude::*;

/// Rows that are summed in `f32` before the sum goes to `f64`.
const RUN: usize = 64;

/// Rows of one task of the elementwise passes.
fn rows_of_task(c: usize) -> usize {
    ((1 << 16) / c).max(16)
}

/// Per channel: the sums of two quantities over all rows. `body(rows, a, b)` adds those of a few rows.
fn sums(
    n_rows: usize,
    c: usize,
    body: impl Fn(std::ops::Range<usize>, &mut [f32], &mut [f32]) + Sync,
) -> (Vec<f64>, Vec<f64>) {
    let ranges: Vec<_> = cut(n_rows, (n_rows / 256).clamp(1, 32)).collect();
    let parts: Vec<_> = ranges
        .into_par_iter()
        .map(|range| {
            let (mut a, mut b) = (vec![0.0_f64; c], vec![0.0_f64; c]);
            let (mut few_a, mut few_b) = (vec![0.0_f32; c], vec![0.0_f32; c]);
            let mut first = range.start;
            while first < range.end {
                let end = (first + RUN).min(range.end);
                few_a.fill(0.0);
                few_b.fill(0.0);
                body(first..end, &mut few_a, &mut few_b);
                widen(&mut a, &few_a);
                widen(&mut b, &few_b);
                first = end;
            }
            (a, b)
        })
        .collect();
    let (mut a, mut b) = (vec![0.0; c], vec![0.0; c]);
    for (part_a, part_b) in parts {
        for ((a, b), (part_a, part_b)) in a.iter_mut().zip(&mut b).zip(part_a.iter().zip(part_b)) {
            *a += part_a;
            *b += part_b;
        }
    }
    (a, b)
}

fn widen(sum: &mut [f64], part: &[f32]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += f64::from(*part);
    }
}

/// Mean and variance (divided by n) of each of `c` channels.
///
/// What is summed is the difference to the first row: squares of numbers near their mean lose nothing.
pub(crate) fn statistics(x: &[f32], c: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (x.len() / c) as f64;
    let origin = &x[..c];
    let (sum, squares) = sums(x.len() / c, c, |rows, sum, squares| {
        let x = &x[rows.start * c..rows.end * c];
        add_moments(x, origin, sum, squares);
    });
    let mean = sum
        .iter()
        .zip(origin)
        .map(|(sum, origin)| f64::from(*origin) + sum / n);
    let variance = sum.iter().zip(&squares).map(|(sum, squares)| {
        let mean = sum / n;
        (squares / n - mean * mean).max(0.0)
    });
    (mean.collect(), variance.collect())
}

kernel! {
    fn add_moments<'a>(x: &'a [f32], origin: &'a [f32], sum: &'a mut [f32], squares: &'a mut [f32]) {
        let c = origin.len();
        let (sum, squares) = (&mut sum[..c], &mut squares[..c]);
        for row in x.chunks_exact(c) {
            for at in 0..c {
                let it = row[at] - origin[at];
                sum[at] += it;
                squares[at] += it * it;
            }
        }
}
}

/// `y = x * scale + shift` per channel, then what comes `after`.
pub(crate) fn affine(x: &[f32], scale: &[f32], shift: &[f32], after: Activation, y: &mut [f32]) {
    let bounds = after.bounds();
    let len = rows_of_task(scale.len()) * scale.len();
    y.par_chunks_mut(len)
        .zip(x.par_chunks(len))
        .for_each(|(y, x)| {
            affine_rows(x, scale, shift, bounds, y);
        });
}

kernel! {
    fn affine_rows<'a>(x: &'a [f32], scale: &'a [f32], shift: &'a [f32], bounds: [f32; 2], y: &'a mut [f32]) {
        let c = scale.len();
        let shift = &shift[..c];
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for at in 0..c {
                y[at] = held(x[at] * scale[at] + shift[at], bounds);
            }
        }
}
}

/// What the backward pass needs of the forward pass: `y = after(x * scale + shift)`, the root of the variance
/// inverted, and the mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normalised {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub mean: Vec<f32>,
    pub inverse: Vec<f32>,
    pub after: Activation,
}

/// Gradients of training mode, where mean and variance depend on the input: `dx` takes the place of `dy`.
/// Returns the gradients of the scale and the shift that training learns (gamma and beta).
pub(crate) fn backward(it: &Normalised, x: &[f32], dy: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
    let c = it.mean.len();
    let n = (x.len() / c) as f64;
    // The gradient's mask is the comparison that the forward pass made, made again on the same numbers.
    let bounds = it.after.bounds();
    let gradient: &[f32] = dy;
    let (sum, product) = sums(x.len() / c, c, |rows, sum, product| {
        let range = rows.start * c..rows.end * c;
        let (x, dy) = (&x[range.clone()], &gradient[range]);
        add_gradients(it, x, dy, bounds, sum, product);
    });
    let mut parts = vec![[0.0_f32; 3]; c];
    let mut gamma = vec![0.0; c];
    for at in 0..c {
        let (scale, inverse) = (f64::from(it.scale[at]), f64::from(it.inverse[at]));
        let gradient = product[at] * inverse;
        let of_x = -scale * inverse * gradient / n;
        let constant = -scale * sum[at] / n - of_x * f64::from(it.mean[at]);
        parts[at] = [it.scale[at], of_x as f32, constant as f32];
        gamma[at] = gradient as f32;
    }
    let of_dy: Vec<f32> = parts.iter().map(|it| it[0]).collect();
    let of_x: Vec<f32> = parts.iter().map(|it| it[1]).collect();
    let constant: Vec<f32> = parts.iter().map(|it| it[2]).collect();
    let len = rows_of_task(c) * c;
    dy.par_chunks_mut(len)
        .zip(x.par_chunks(len))
        .for_each(|(dy, x)| {
            input_gradient(it, [&of_dy, &of_x, &constant], x, bounds, dy);
        });
    (gamma, sum.iter().map(|it| *it as f32).collect())
}

kernel! {
    fn add_gradients<'a>(it: &'a Normalised, x: &'a [f32], dy: &'a [f32], bounds: [f32; 2], sum: &'a mut [f32], product: &'a mut [f32]) {
        let c = it.mean.len();
        let (scale, shift, mean) = (&it.scale[..c], &it.shift[..c], &it.mean[..c]);
        let (sum, product) = (&mut sum[..c], &mut product[..c]);
        for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
            for at in 0..c {
                let it = x[at] * scale[at] + shift[at];
                let dy = if it > bounds[0] && it < bounds[1] { dy[at] } else { 0.0 };
                sum[at] += dy;
                product[at] += dy * (x[at] - mean[at]);
            }
        }
}
}

kernel! {
    fn input_gradient<'a>(it: &'a Normalised, factors: [&'a [f32]; 3], x: &'a [f32], bounds: [f32; 2], dy: &'a mut [f32]) {
        let c = it.mean.len();
        let (scale, shift) = (&it.scale[..c], &it.shift[..c]);
        let [of_dy, of_x, constant] = factors.map(|it| &it[..c]);
        for (dy, x) in dy.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for at in 0..c {
                let it = x[at] * scale[at] + shift[at];
                let masked = if it > bounds[0] && it < bounds[1] { dy[at] } else { 0.0 };
                dy[at] = of_dy[at] * masked + of_x[at] * x[at] + constant[at];
            }
        }
}
}
