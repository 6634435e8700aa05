//! The sum of two branches, with what comes after it, and the way back.

use super::{Activation, held, kernel};
use rayon::prelude::*;

/// Values of one task.
const CHUNK: usize = 1 << 14;

/// `y = after(y + x)`. `passes` gets 1 where the gradient passes, else 0; it stays as it is without activation.
pub(crate) fn add(y: &mut [f32], x: &[f32], after: Activation, passes: &mut [u8]) {
    let bounds = after.bounds();
    if after == Activation::None {
        y.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(y, x)| super::add(y, x));
        return;
    }
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .zip(passes.par_chunks_mut(CHUNK))
        .for_each(|((y, x), passes)| add_part(y, x, bounds, passes));
}

kernel! {
    fn add_part<'a>(y: &'a mut [f32], x: &'a [f32], bounds: [f32; 2], passes: &'a mut [u8]) {
        let n = y.len();
        let (x, passes) = (&x[..n], &mut passes[..n]);
        for at in 0..n {
            let sum = y[at] + x[at];
            passes[at] = u8::from(sum > bounds[0] && sum < bounds[1]);
            y[at] = held(sum, bounds);
        }
    }
}

/// `y = after(y + x)` where no way back is needed.
pub(crate) fn add_only(y: &mut [f32], x: &[f32], after: Activation) {
    let bounds = after.bounds();
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(y, x)| add_held(y, x, bounds));
}

kernel! {
    fn add_held<'a>(y: &'a mut [f32], x: &'a [f32], bounds: [f32; 2]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = held(*y + x, bounds);
        }
    }
}

/// The gradient in both branches: `dy` where it passes, in place and copied to `other`.
pub(crate) fn backward(dy: &mut [f32], after: Activation, passes: &[u8], other: &mut [f32]) {
    if after == Activation::None {
        other
            .par_chunks_mut(CHUNK)
            .zip(dy.par_chunks(CHUNK))
            .for_each(|(other, dy)| other.copy_from_slice(dy));
        return;
    }
    dy.par_chunks_mut(CHUNK)
        .zip(other.par_chunks_mut(CHUNK))
        .zip(passes.par_chunks(CHUNK))
        .for_each(|((dy, other), passes)| pass_part(dy, other, passes));
}

kernel! {
    fn pass_part<'a>(dy: &'a mut [f32], other: &'a mut [f32], passes: &'a [u8]) {
        let n = dy.len();
        let (other, passes) = (&mut other[..n], &passes[..n]);
        for at in 0..n {
            let it = if passes[at] == 0 { 0.0 } else { dy[at] };
            dy[at] = it;
            other[at] = it;
        }
    }
}
