//! Depthwise convolution of 3x3 or 5x5: each channel has its own kernel.
//!
//! A task is an image. It walks over blocks of channels, copies each block into a small canvas with a border
//! of zeros, and slides over that: the inner loops know no edges, and what they touch fits the first caches.

#![expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]

use super::product::{lanes_of, put_lanes};
use super::scratch::with_scratch;
use super::{Activation, LANES, Padding, Simd, add_parts, cut, kernel};
use rayon::prelude::*;

/// `n` images of `h` x `w` pixels and `c` channels, under a kernel of side 3 or 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depthwise {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub kernel: usize,
    pub stride: usize,
    /// Less than the kernel on every side.
    pub padding: Padding,
}

impl Depthwise {
    pub(crate) const fn out_h(&self) -> usize {
        self.padding.output(self.h, self.kernel, self.stride)
    }

    pub(crate) const fn out_w(&self) -> usize {
        self.padding.output(self.w, self.kernel, self.stride)
    }

    const fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    const fn in_len(&self) -> usize {
        self.h * self.w * self.c
    }

    const fn out_len(&self) -> usize {
        self.out_h() * self.out_w() * self.c
    }

    /// The canvas that holds the input.
    fn input_canvas(&self) -> Canvas {
        Canvas::new([self.h, self.w], [self.out_h(), self.out_w()], self, |it| {
            self.padding.before(it, self.kernel, self.stride)
        })
    }

    /// The canvas that holds the gradient of the output, its pixels `stride` apart, for the turned kernel.
    fn gradient_canvas(&self) -> Canvas {
        let reach = self.kernel - 1;
        let before = |side| reach - self.padding.before(side, self.kernel, self.stride);
        let (top, left) = (before(self.h), before(self.w));
        let side = |out: usize, side: usize, before: usize| {
            ((out - 1) * self.stride + 1 + before).max(side + reach)
        };
        Canvas {
            h: side(self.out_h(), self.h, top),
            w: side(self.out_w(), self.w, left),
            top,
            left,
        }
    }
}

/// A picture with a border of zeros.
#[derive(Clone, Copy, Debug)]
struct Canvas {
    h: usize,
    w: usize,
    top: usize,
    left: usize,
}

impl Canvas {
    fn new(
        sides: [usize; 2],
        outputs: [usize; 2],
        it: &Depthwise,
        before: impl Fn(usize) -> usize,
    ) -> Self {
        let [top, left] = sides.map(before);
        let side = |side: usize, out: usize, before: usize| {
            ((out - 1) * it.stride + it.kernel).max(side + before)
        };
        Self {
            h: side(sides[0], outputs[0], top),
            w: side(sides[1], outputs[1], left),
            top,
            left,
        }
    }

    const fn len(&self) -> usize {
        self.h * self.w
    }
}

/// `y = x * weights (+ bias)`, then what comes `after`; the weights as files hold them, (channel, y, x).
pub(crate) fn forward(
    it: &Depthwise,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    after: Activation,
    y: &mut [f32],
) {
    let zeros = vec![0.0; it.c];
    let bias = bias.unwrap_or(&zeros);
    y.par_chunks_mut(it.out_len())
        .zip(x.par_chunks(it.in_len()))
        .for_each(|(y, x)| {
            with_scratch(it.input_canvas().len() * LANES, |canvas| {
                forward_image(it, x, [weights, bias], after, y, canvas);
            });
        });
}

/// Calls `$body::<S, K>($arguments, first channel)` for every block of channels.
macro_rules! blocks {
    ($it:expr, $body:ident($($argument:expr),*)) => {
        for at in (0..$it.c).step_by(LANES) {
            match $it.kernel {
                3 => $body::<S, 3>($($argument,)* at),
                5 => $body::<S, 5>($($argument,)* at),
                side => unreachable!("a depthwise kernel of side {side}"),
            }
        }
    };
}

kernel! {
    fn forward_image<'a>[simd](it: &'a Depthwise, x: &'a [f32], learned: [&'a [f32]; 2], after: Activation, y: &'a mut [f32], canvas: &'a mut [f32]) {
        blocks!(it, forward_block(simd, it, x, learned, after, y, canvas));
    }
}

#[expect(clippy::too_many_arguments, reason = "a kernel's inner part")]
#[inline(always)]
fn forward_block<S: Simd, const K: usize>(
    simd: S,
    it: &Depthwise,
    x: &[f32],
    [weights, bias]: [&[f32]; 2],
    after: Activation,
    y: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let shape = it.input_canvas();
    place(simd, canvas, shape, x, (it.h, it.w, it.c), at, 1);
    let canvas = &canvas.as_chunks::<LANES>().0[..shape.len()];
    let weights = taps::<S, K>(simd, weights, it.c, at);
    let [low, high] = after.bounds();
    let (low, high) = (simd.splat(low), simd.splat(high));
    let end = (at + LANES).min(it.c);
    let bias = lanes_of(simd, &bias[at..end]);
    let out_w = it.out_w();
    for out_y in 0..it.out_h() {
        let line = &mut y[out_y * out_w * it.c..][..out_w * it.c];
        for (out_x, y) in line.chunks_exact_mut(it.c).enumerate() {
            let corner = (out_y * shape.w + out_x) * it.stride;
            let sum = slide::<S, K>(simd, canvas, shape.w, corner, &weights, bias);
            put_lanes(simd, simd.hold(sum, low, high), &mut y[at..end]);
        }
    }
}

/// The gradient in the input: the kernel turned by half a circle slides over the gradient of the output, whose
/// pixels stand `stride` apart.
pub(crate) fn backward_input(it: &Depthwise, weights: &[f32], dy: &[f32], dx: &mut [f32]) {
    let mut turned = weights.to_vec();
    for kernel in turned.chunks_exact_mut(it.taps()) {
        kernel.reverse();
    }
    let turned = turned.as_slice();
    dx.par_chunks_mut(it.in_len())
        .zip(dy.par_chunks(it.out_len()))
        .for_each(|(dx, dy)| {
            with_scratch(it.gradient_canvas().len() * LANES, |canvas| {
                input_image(it, turned, dy, dx, canvas);
            });
        });
}

kernel! {
    fn input_image<'a>[simd](it: &'a Depthwise, turned: &'a [f32], dy: &'a [f32], dx: &'a mut [f32], canvas: &'a mut [f32]) {
        blocks!(it, input_block(simd, it, turned, dy, dx, canvas));
    }
}

#[inline(always)]
fn input_block<S: Simd, const K: usize>(
    simd: S,
    it: &Depthwise,
    turned: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let shape = it.gradient_canvas();
    let image = (it.out_h(), it.out_w(), it.c);
    place(simd, canvas, shape, dy, image, at, it.stride);
    let canvas = &canvas.as_chunks::<LANES>().0[..shape.len()];
    let turned = taps::<S, K>(simd, turned, it.c, at);
    let end = (at + LANES).min(it.c);
    let zero = simd.splat(0.0);
    for y in 0..it.h {
        let line = &mut dx[y * it.w * it.c..][..it.w * it.c];
        for (x, dx) in line.chunks_exact_mut(it.c).enumerate() {
            let sum = slide::<S, K>(simd, canvas, shape.w, y * shape.w + x, &turned, zero);
            put_lanes(simd, sum, &mut dx[at..end]);
        }
    }
}

/// The gradient in the weights, in the order of files.
pub(crate) fn backward_weights(it: &Depthwise, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let taps = it.taps();
    let blocks = it.c.div_ceil(LANES);
    let ranges: Vec<_> = cut(it.n, 16).collect();
    let mut sums: Vec<Vec<f32>> = ranges
        .into_par_iter()
        .map(|images| {
            let mut sum = vec![0.0; taps * blocks * LANES];
            with_scratch(it.input_canvas().len() * LANES, |canvas| {
                for image in images {
                    let x = &x[image * it.in_len()..][..it.in_len()];
                    let dy = &dy[image * it.out_len()..][..it.out_len()];
                    weights_image(it, x, dy, &mut sum, canvas);
                }
            });
            sum
        })
        .collect();
    let rest = sums.split_off(1);
    add_parts(&mut sums[0], &rest);
    for (at, dw) in dw.iter_mut().enumerate() {
        let (channel, tap) = (at / taps, at % taps);
        *dw = sums[0][(channel / LANES * taps + tap) * LANES + channel % LANES];
    }
}

kernel! {
    /// Adds to sums in the order (block of channels, tap, channel).
    fn weights_image<'a>[simd](it: &'a Depthwise, x: &'a [f32], dy: &'a [f32], sum: &'a mut [f32], canvas: &'a mut [f32]) {
        blocks!(it, weights_block(simd, it, x, dy, sum, canvas));
    }
}

#[inline(always)]
fn weights_block<S: Simd, const K: usize>(
    simd: S,
    it: &Depthwise,
    x: &[f32],
    dy: &[f32],
    sum: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let shape = it.input_canvas();
    place(simd, canvas, shape, x, (it.h, it.w, it.c), at, 1);
    let canvas = &canvas.as_chunks::<LANES>().0[..shape.len()];
    let sum = &mut sum.as_chunks_mut::<LANES>().0[at / LANES * K * K..][..K * K];
    let end = (at + LANES).min(it.c);
    let mut sums = [[simd.splat(0.0); K]; K];
    let out_w = it.out_w();
    for out_y in 0..it.out_h() {
        let line = &dy[out_y * out_w * it.c..][..out_w * it.c];
        for (out_x, dy) in line.chunks_exact(it.c).enumerate() {
            let corner = (out_y * shape.w + out_x) * it.stride;
            let dy = lanes_of(simd, &dy[at..end]);
            for ky in 0..K {
                let line = &canvas[corner + ky * shape.w..][..K];
                for kx in 0..K {
                    sums[ky][kx] = simd.fma(dy, simd.load(&line[kx]), sums[ky][kx]);
                }
            }
        }
    }
    for ky in 0..K {
        for kx in 0..K {
            let sum = &mut sum[ky * K + kx];
            simd.store(simd.add(simd.load(sum), sums[ky][kx]), sum);
        }
    }
}

/// Copies sixteen channels of an image onto a canvas, from channel `at` on, the pixels `spacing` apart, and zeros
/// elsewhere.
#[inline(always)]
fn place<S: Simd>(
    simd: S,
    canvas: &mut [f32],
    shape: Canvas,
    image: &[f32],
    (h, w, c): (usize, usize, usize),
    at: usize,
    spacing: usize,
) {
    let canvas = &mut canvas.as_chunks_mut::<LANES>().0[..shape.len()];
    let end = (at + LANES).min(c);
    for (line, canvas) in canvas.chunks_exact_mut(shape.w).enumerate() {
        let y = line.wrapping_sub(shape.top);
        if y >= h * spacing || !y.is_multiple_of(spacing) {
            canvas.fill([0.0; LANES]);
            continue;
        }
        if spacing > 1 {
            canvas.fill([0.0; LANES]);
        }
        let (before, rest) = canvas.split_at_mut(shape.left);
        before.fill([0.0; LANES]);
        let pixels = image[y / spacing * w * c..][..w * c].chunks_exact(c);
        for (place, pixel) in rest.iter_mut().step_by(spacing).zip(pixels) {
            simd.store(lanes_of(simd, &pixel[at..end]), place);
        }
        let used = ((w - 1) * spacing + 1).min(rest.len());
        rest[used..].fill([0.0; LANES]);
    }
}

/// `start` and the sum over the K x K pixels from `corner` on, each times its weight.
#[inline(always)]
fn slide<S: Simd, const K: usize>(
    simd: S,
    canvas: &[[f32; LANES]],
    canvas_w: usize,
    corner: usize,
    weights: &[[S::V; K]; K],
    start: S::V,
) -> S::V {
    let mut sum = start;
    for ky in 0..K {
        let line = &canvas[corner + ky * canvas_w..][..K];
        for kx in 0..K {
            sum = simd.fma(simd.load(&line[kx]), weights[ky][kx], sum);
        }
    }
    sum
}

/// The weights of sixteen channels from `at` on, tap by tap.
#[inline(always)]
fn taps<S: Simd, const K: usize>(simd: S, weights: &[f32], c: usize, at: usize) -> [[S::V; K]; K] {
    let mut out = [[simd.splat(0.0); K]; K];
    for ky in 0..K {
        for kx in 0..K {
            let mut lanes = [0.0; LANES];
            for lane in 0..LANES.min(c - at) {
                lanes[lane] = weights[((at + lane) * K + ky) * K + kx];
            }
            out[ky][kx] = simd.load(&lanes);
        }
    }
    out
}
