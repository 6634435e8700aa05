//! Means over pixels, and nearest upsampling.

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

/// Means of windows, without padding: `n` images of `h` x `w` pixels and `c` channels. What the last window
/// does not reach is left out, as in `PyTorch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AveragePool {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub kernel: usize,
    pub stride: usize,
}

impl AveragePool {
    pub(crate) const fn out_h(&self) -> usize {
        (self.h - self.kernel) / self.stride + 1
    }

    pub(crate) const fn out_w(&self) -> usize {
        (self.w - self.kernel) / self.stride + 1
    }

    /// Where the pixels of the window of an output begin in the image.
    fn pixels(&self, output: usize) -> impl Iterator<Item = usize> {
        let Self { w, c, kernel, .. } = *self;
        let top = output / self.out_w() * self.stride;
        let left = output % self.out_w() * self.stride;
        (0..kernel * kernel).map(move |tap| ((top + tap / kernel) * w + left + tap % kernel) * c)
    }

    pub(crate) fn forward(&self, x: &[f32], y: &mut [f32]) {
        y.par_chunks_mut(self.out_h() * self.out_w() * self.c)
            .zip(x.par_chunks(self.h * self.w * self.c))
            .for_each(|(y, x)| average_windows(self, x, y));
    }

    pub(crate) fn backward(&self, dy: &[f32], dx: &mut [f32]) {
        dx.par_chunks_mut(self.h * self.w * self.c)
            .zip(dy.par_chunks(self.out_h() * self.out_w() * self.c))
            .for_each(|(dx, dy)| spread_windows(self, dy, dx));
    }
}

kernel! {
    fn average_windows<'a>(it: &'a AveragePool, x: &'a [f32], y: &'a mut [f32]) {
        let scale = 1.0 / (it.kernel * it.kernel) as f32;
        for (at, y) in y.chunks_exact_mut(it.c).enumerate() {
            y.fill(0.0);
            for pixel in it.pixels(at) {
                for (y, x) in y.iter_mut().zip(&x[pixel..][..it.c]) {
                    *y += x;
                }
            }
            for y in y {
                *y *= scale;
            }
        }
    }
}

kernel! {
    fn spread_windows<'a>(it: &'a AveragePool, dy: &'a [f32], dx: &'a mut [f32]) {
        let scale = 1.0 / (it.kernel * it.kernel) as f32;
        dx.fill(0.0);
        for (at, dy) in dy.chunks_exact(it.c).enumerate() {
            for pixel in it.pixels(at) {
                for (dx, dy) in dx[pixel..][..it.c].iter_mut().zip(dy) {
                    *dx += dy * scale;
                }
            }
        }
    }
}

/// Every pixel four times: lines of `w` pixels of `c` channels become two lines of `2 w` pixels.
pub(crate) fn upsample(x: &[f32], w: usize, c: usize, y: &mut [f32]) {
    y.par_chunks_mut(4 * w * c)
        .zip(x.par_chunks(w * c))
        .for_each(|(y, x)| {
            let (upper, lower) = y.split_at_mut(2 * w * c);
            for (y, x) in upper.chunks_exact_mut(2 * c).zip(x.chunks_exact(c)) {
                y[..c].copy_from_slice(x);
                y[c..].copy_from_slice(x);
            }
            lower.copy_from_slice(upper);
        });
}

/// The gradient of [`upsample`]: the sum over the four.
pub(crate) fn upsample_backward(dy: &[f32], w: usize, c: usize, dx: &mut [f32]) {
    dx.par_chunks_mut(w * c)
        .zip(dy.par_chunks(4 * w * c))
        .for_each(|(dx, dy)| add_squares(dy, c, dx));
}

kernel! {
    fn add_squares<'a>(dy: &'a [f32], c: usize, dx: &'a mut [f32]) {
        let (upper, lower) = dy.split_at(dy.len() / 2);
        let squares = upper.chunks_exact(2 * c).zip(lower.chunks_exact(2 * c));
        for (dx, (upper, lower)) in dx.chunks_exact_mut(c).zip(squares) {
            let (a, b) = upper.split_at(c);
            let (d, e) = lower.split_at(c);
            for lane in 0..c {
                dx[lane] = (a[lane] + b[lane]) + (d[lane] + e[lane]);
            }
        }
    }
}
