//! Cutting work into parts that do not depend on the number of threads.

use super::kernel;
use rayon::prelude::*;
use std::ops::Range;

/// Cuts `0..n` into at most `parts` ranges of nearly equal length, none empty.
pub(crate) fn cut(n: usize, parts: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let parts = parts.min(n).max(1);
    (0..parts).map(move |it| n * it / parts..n * (it + 1) / parts)
}

/// Values of one task that adds.
const CHUNK: usize = 1 << 14;

/// Adds the parts to `sum`, in their order.
pub(crate) fn add_parts(sum: &mut [f32], parts: &[Vec<f32>]) {
    sum.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, sum)| {
            for part in parts {
                let part = &part[chunk * CHUNK..][..sum.len()];
                add(sum, part);
            }
        });
}

/// Adds all parts of `len` values to the first, in their order.
pub(crate) fn add_chunks(parts: &mut [f32], len: usize) {
    let (sum, rest) = parts.split_at_mut(len);
    sum.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, sum)| {
            for part in rest.chunks_exact(len) {
                add(sum, &part[chunk * CHUNK..][..sum.len()]);
            }
        });
}

kernel! {
    pub(crate) fn add<'a>(sum: &'a mut [f32], part: &'a [f32]) {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_cut_covers_everything_once() {
        for (n, parts) in [(0, 3), (1, 3), (7, 3), (8, 2), (5, 9)] {
            let all: Vec<usize> = cut(n, parts).flatten().collect();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }
}
