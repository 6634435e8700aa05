//! The way back through a bias and what comes after it.

use super::{Activation, cut, kernel};
use rayon::prelude::*;

/// Values of one task.
const CHUNK: usize = 1 << 14;

/// `passes` gets 1 where the gradient passes the activation that made `y`, else 0.
pub(crate) fn mark(y: &[f32], after: Activation, passes: &mut [u8]) {
    let bounds = after.bounds();
    passes
        .par_chunks_mut(CHUNK)
        .zip(y.par_chunks(CHUNK))
        .for_each(|(passes, y)| mark_part(y, bounds, passes));
}

kernel! {
    fn mark_part<'a>(y: &'a [f32], bounds: [f32; 2], passes: &'a mut [u8]) {
        for (passes, y) in passes.iter_mut().zip(y) {
            *passes = u8::from(*y > bounds[0] && *y < bounds[1]);
        }
    }
}

/// Clears the gradient where it does not pass, and gives its sum for each of `c` channels.
pub(crate) fn backward(dy: &mut [f32], passes: Option<&[u8]>, c: usize) -> Vec<f32> {
    let rows = dy.len() / c;
    let part = rows.div_ceil(32).max(64) * c;
    let sums: Vec<Vec<f32>> = dy
        .par_chunks_mut(part)
        .enumerate()
        .map(|(at, dy)| {
            let passes = passes.map(|it| &it[at * part..][..dy.len()]);
            let (mut sum, mut few) = (vec![0.0_f64; c], vec![0.0_f32; c]);
            for rows in cut(dy.len() / c, dy.len() / c / 64) {
                let range = rows.start * c..rows.end * c;
                few.fill(0.0);
                match passes {
                    Some(it) => pass_and_add(&mut dy[range.clone()], &it[range], &mut few),
                    None => add_rows(&dy[range], &mut few),
                }
                for (sum, few) in sum.iter_mut().zip(&few) {
                    *sum += f64::from(*few);
                }
            }
            sum.into_iter().map(|it| it as f32).collect()
        })
        .collect();
    let mut sum = vec![0.0; c];
    for part in &sums {
        super::add(&mut sum, part);
    }
    sum
}

kernel! {
    fn pass_and_add<'a>(dy: &'a mut [f32], passes: &'a [u8], sum: &'a mut [f32]) {
        let c = sum.len();
        for (dy, passes) in dy.chunks_exact_mut(c).zip(passes.chunks_exact(c)) {
            for lane in 0..c {
                let it = if passes[lane] == 0 { 0.0 } else { dy[lane] };
                dy[lane] = it;
                sum[lane] += it;
            }
        }
    }
}

kernel! {
    fn add_rows<'a>(dy: &'a [f32], sum: &'a mut [f32]) {
        for row in dy.chunks_exact(sum.len()) {
            for (sum, dy) in sum.iter_mut().zip(row) {
                *sum += dy;
            }
        }
    }
}
