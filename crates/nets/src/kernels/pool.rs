//! Global average pooling.

use super::kernel;
use rayon::prelude::*;

/// The mean over the pixels of each of the images in `x`, which have `c` channels.
pub(crate) fn forward(x: &[f32], n_pixels: usize, c: usize, out: &mut [f32]) {
    let scale = 1.0 / n_pixels as f32;
    out.par_chunks_mut(c)
        .zip(x.par_chunks(n_pixels * c))
        .for_each(|(out, x)| mean(x, scale, out));
}

kernel! {
    fn mean<'a>(x: &'a [f32], scale: f32, out: &'a mut [f32]) {
        out.fill(0.0);
        for pixel in x.chunks_exact(out.len()) {
            for (out, x) in out.iter_mut().zip(pixel) {
                *out += x;
            }
        }
        for out in out {
            *out *= scale;
        }
}
}

/// The gradient of [`forward`] in its input: every pixel gets its share.
pub(crate) fn backward(dy: &[f32], n_pixels: usize, c: usize, dx: &mut [f32]) {
    let scale = 1.0 / n_pixels as f32;
    dx.par_chunks_mut(n_pixels * c)
        .zip(dy.par_chunks(c))
        .for_each(|(dx, dy)| {
            for pixel in dx.chunks_exact_mut(c) {
                for (dx, dy) in pixel.iter_mut().zip(dy) {
                    *dx = dy * scale;
                }
            }
        });
}
