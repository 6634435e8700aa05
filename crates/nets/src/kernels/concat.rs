//! Two pictures of the same size as one, the channels of the first before those of the second.

use super::kernel;
use rayon::prelude::*;

/// Pixels of one task.
const PIXELS: usize = 1 << 10;

/// `out = [a, b]`, of `channels` each.
pub(crate) fn join(a: &[f32], b: &[f32], channels: [usize; 2], out: &mut [f32]) {
    let [of_a, of_b] = channels;
    out.par_chunks_mut(PIXELS * (of_a + of_b))
        .zip(a.par_chunks(PIXELS * of_a))
        .zip(b.par_chunks(PIXELS * of_b))
        .for_each(|((out, a), b)| {
            let parts = a.chunks_exact(of_a).zip(b.chunks_exact(of_b));
            for (out, (a, b)) in out.chunks_exact_mut(of_a + of_b).zip(parts) {
                out[..of_a].copy_from_slice(a);
                out[of_a..].copy_from_slice(b);
            }
        });
}

/// The gradient of [`join`] in `a`.
pub(crate) fn first(joined: &[f32], channels: [usize; 2], a: &mut [f32]) {
    let [of_a, of_b] = channels;
    a.par_chunks_mut(PIXELS * of_a)
        .zip(joined.par_chunks(PIXELS * (of_a + of_b)))
        .for_each(|(a, joined)| {
            let joined = joined.chunks_exact(of_a + of_b);
            for (a, joined) in a.chunks_exact_mut(of_a).zip(joined) {
                a.copy_from_slice(&joined[..of_a]);
            }
        });
}

/// Adds the gradient of [`join`] in `b` to what came by another way.
pub(crate) fn add_second(joined: &[f32], channels: [usize; 2], b: &mut [f32]) {
    let [of_a, of_b] = channels;
    b.par_chunks_mut(PIXELS * of_b)
        .zip(joined.par_chunks(PIXELS * (of_a + of_b)))
        .for_each(|(b, joined)| add_parts_of(b, joined, of_a, of_b));
}

kernel! {
    fn add_parts_of<'a>(b: &'a mut [f32], joined: &'a [f32], of_a: usize, of_b: usize) {
        for (b, joined) in b.chunks_exact_mut(of_b).zip(joined.chunks_exact(of_a + of_b)) {
            for (b, joined) in b.iter_mut().zip(&joined[of_a..]) {
                *b += joined;
            }
        }
    }
}
