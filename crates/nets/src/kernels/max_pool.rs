//! The largest value under a sliding window. Where it was found is kept as one byte a value, so the input need
//! not be.

use super::kernel;
use rayon::prelude::*;

/// `n` images of `h` x `w` pixels and `c` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxPool {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub kernel: usize,
    pub stride: usize,
    /// At most half of the kernel, so that every window sees a pixel.
    pub padding: usize,
}

impl MaxPool {
    pub(crate) const fn out_h(&self) -> usize {
        (self.h + 2 * self.padding - self.kernel) / self.stride + 1
    }

    pub(crate) const fn out_w(&self) -> usize {
        (self.w + 2 * self.padding - self.kernel) / self.stride + 1
    }

    const fn in_len(&self) -> usize {
        self.h * self.w * self.c
    }

    const fn out_len(&self) -> usize {
        self.out_h() * self.out_w() * self.c
    }

    /// Whether the windows lie beside each other and cover the picture: each pixel is seen once.
    const fn tiles(&self) -> bool {
        self.kernel == self.stride
            && self.padding == 0
            && self.h.is_multiple_of(self.stride)
            && self.w.is_multiple_of(self.stride)
    }

    /// Where in the image the pixels of a window lie, with their number inside of the window.
    fn pixels(&self, out_y: usize, out_x: usize) -> impl Iterator<Item = (u8, usize)> {
        let Self { h, w, c, .. } = *self;
        let (kernel, padding) = (self.kernel, self.padding);
        let (top, left) = (out_y * self.stride, out_x * self.stride);
        (0..kernel * kernel).filter_map(move |tap| {
            let y = (top + tap / kernel).checked_sub(padding)?;
            let x = (left + tap % kernel).checked_sub(padding)?;
            (y < h && x < w).then_some((tap as u8, (y * w + x) * c))
        })
    }
}

/// `y` is the largest value of each window, `positions` its number in the window: the first of equals, and a
/// value that is no number goes through, as in `PyTorch`.
pub(crate) fn forward(it: &MaxPool, x: &[f32], y: &mut [f32], positions: &mut [u8]) {
    y.par_chunks_mut(it.out_len())
        .zip(positions.par_chunks_mut(it.out_len()))
        .zip(x.par_chunks(it.in_len()))
        .for_each(|((y, positions), x)| forward_image(it, x, y, positions));
}

kernel! {
    fn forward_image<'a>(it: &'a MaxPool, x: &'a [f32], y: &'a mut [f32], positions: &'a mut [u8]) {
        let (c, out_w) = (it.c, it.out_w());
        let outputs = y.chunks_exact_mut(c).zip(positions.chunks_exact_mut(c));
        for (at, (y, positions)) in outputs.enumerate() {
            let mut is_first = true;
            for (tap, pixel) in it.pixels(at / out_w, at % out_w) {
                let x = &x[pixel..][..c];
                if is_first {
                    y.copy_from_slice(x);
                    positions.fill(tap);
                    is_first = false;
                    continue;
                }
                let (y, positions) = (&mut y[..c], &mut positions[..c]);
                for lane in 0..c {
                    let wins = x[lane] > y[lane] || x[lane].is_nan();
                    y[lane] = if wins { x[lane] } else { y[lane] };
                    positions[lane] = if wins { tap } else { positions[lane] };
                }
            }
        }
    }
}

/// [`forward`] where no way back is needed.
pub(crate) fn forward_only(it: &MaxPool, x: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(it.out_len())
        .zip(x.par_chunks(it.in_len()))
        .for_each(|(y, x)| largest_of_image(it, x, y));
}

kernel! {
    fn largest_of_image<'a>(it: &'a MaxPool, x: &'a [f32], y: &'a mut [f32]) {
        let (c, out_w) = (it.c, it.out_w());
        for (at, y) in y.chunks_exact_mut(c).enumerate() {
            let mut is_first = true;
            for (_, pixel) in it.pixels(at / out_w, at % out_w) {
                let x = &x[pixel..][..c];
                if is_first {
                    y.copy_from_slice(x);
                    is_first = false;
                    continue;
                }
                for (y, x) in y.iter_mut().zip(x) {
                    *y = if *x > *y || x.is_nan() { *x } else { *y };
                }
            }
        }
    }
}

/// The gradient in the input: what reaches an output goes to where its value was found.
pub(crate) fn backward(it: &MaxPool, positions: &[u8], dy: &[f32], dx: &mut [f32]) {
    dx.par_chunks_mut(it.in_len())
        .zip(dy.par_chunks(it.out_len()))
        .zip(positions.par_chunks(it.out_len()))
        .for_each(|((dx, dy), positions)| backward_image(it, positions, dy, dx));
}

kernel! {
    fn backward_image<'a>(it: &'a MaxPool, positions: &'a [u8], dy: &'a [f32], dx: &'a mut [f32]) {
        let (c, out_w, tiles) = (it.c, it.out_w(), it.tiles());
        if !tiles {
            dx.fill(0.0);
        }
        let outputs = dy.chunks_exact(c).zip(positions.chunks_exact(c));
        for (at, (dy, positions)) in outputs.enumerate() {
            for (tap, pixel) in it.pixels(at / out_w, at % out_w) {
                let dx = &mut dx[pixel..][..c];
                if tiles {
                    for lane in 0..c {
                        dx[lane] = if positions[lane] == tap { dy[lane] } else { 0.0 };
                    }
                } else {
                    for lane in 0..c {
                        dx[lane] += if positions[lane] == tap { dy[lane] } else { 0.0 };
                    }
                }
            }
        }
    }
}
