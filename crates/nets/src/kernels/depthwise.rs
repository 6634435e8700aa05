//! Depthwise convolution of 3x3 or 5x5: each channel has its own kernel.
//!
//! A task is an image. It walks over blocks of channels, copies each block into a small canvas with a border
//! of zeros, and slides over that: the inner loops know no edges, and what they touch fits the first caches.

#![expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]

use super::scratch::with_scratch;
use super::{Activation, Padding, add_parts, cut, held, kernel};
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

/// Channels of a block: one 512-bit register.
const BLOCK: usize = 16;

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
            with_scratch(it.input_canvas().len() * BLOCK, |canvas| {
                forward_image(it, x, [weights, bias], after, y, canvas);
            });
        });
}

/// Calls `$body::<L, K>($arguments, first channel)` for every block of channels, the last ones alone.
macro_rules! blocks {
    ($it:expr, $body:ident($($argument:expr),*)) => {{
        let mut at = 0;
        while at < $it.c {
            let is_block = at + BLOCK <= $it.c;
            match ($it.kernel, is_block) {
                (3, true) => $body::<BLOCK, 3>($($argument,)* at),
                (3, false) => $body::<1, 3>($($argument,)* at),
                (5, true) => $body::<BLOCK, 5>($($argument,)* at),
                (5, false) => $body::<1, 5>($($argument,)* at),
                (side, _) => unreachable!("a depthwise kernel of side {side}"),
            }
            at += if is_block { BLOCK } else { 1 };
        }
    }};
}

kernel! {
    fn forward_image<'a>(it: &'a Depthwise, x: &'a [f32], learned: [&'a [f32]; 2], after: Activation, y: &'a mut [f32], canvas: &'a mut [f32]) {
        blocks!(it, forward_block(it, x, learned, after, y, canvas));
    }
}

#[inline(always)]
fn forward_block<const L: usize, const K: usize>(
    it: &Depthwise,
    x: &[f32],
    [weights, bias]: [&[f32]; 2],
    after: Activation,
    y: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let shape = it.input_canvas();
    let canvas = &mut canvas[..shape.len() * L];
    place::<L>(canvas, shape, x, (it.h, it.w, it.c), at, 1);
    let weights = taps::<L, K>(weights, at);
    let bounds = after.bounds();
    let bias = block::<L>(bias, at);
    let out_w = it.out_w();
    for out_y in 0..it.out_h() {
        for out_x in 0..out_w {
            let corner = (out_y * shape.w + out_x) * it.stride;
            let mut sum = slide::<L, K>(canvas, shape.w, corner, &weights, bias);
            for sum in &mut sum {
                *sum = held(*sum, bounds);
            }
            y[(out_y * out_w + out_x) * it.c + at..][..L].copy_from_slice(&sum);
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
            with_scratch(it.gradient_canvas().len() * BLOCK, |canvas| {
                input_image(it, turned, dy, dx, canvas);
            });
        });
}

kernel! {
    fn input_image<'a>(it: &'a Depthwise, turned: &'a [f32], dy: &'a [f32], dx: &'a mut [f32], canvas: &'a mut [f32]) {
        blocks!(it, input_block(it, turned, dy, dx, canvas));
    }
}

#[inline(always)]
fn input_block<const L: usize, const K: usize>(
    it: &Depthwise,
    turned: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let shape = it.gradient_canvas();
    let canvas = &mut canvas[..shape.len() * L];
    let image = (it.out_h(), it.out_w(), it.c);
    place::<L>(canvas, shape, dy, image, at, it.stride);
    let turned = taps::<L, K>(turned, at);
    for y in 0..it.h {
        for x in 0..it.w {
            let sum = slide::<L, K>(canvas, shape.w, y * shape.w + x, &turned, [0.0; L]);
            dx[(y * it.w + x) * it.c + at..][..L].copy_from_slice(&sum);
        }
    }
}

/// The gradient in the weights, in the order of files.
pub(crate) fn backward_weights(it: &Depthwise, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let taps = it.taps();
    let ranges: Vec<_> = cut(it.n, 16).collect();
    let mut sums: Vec<Vec<f32>> = ranges
        .into_par_iter()
        .map(|images| {
            let mut sum = vec![0.0; taps * it.c];
            with_scratch(it.input_canvas().len() * BLOCK, |canvas| {
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
        *dw = sums[0][at % taps * it.c + at / taps];
    }
}

kernel! {
    fn weights_image<'a>(it: &'a Depthwise, x: &'a [f32], dy: &'a [f32], sum: &'a mut [f32], canvas: &'a mut [f32]) {
        blocks!(it, weights_block(it, x, dy, sum, canvas));
    }
}

#[inline(always)]
fn weights_block<const L: usize, const K: usize>(
    it: &Depthwise,
    x: &[f32],
    dy: &[f32],
    sum: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let shape = it.input_canvas();
    let canvas = &mut canvas[..shape.len() * L];
    place::<L>(canvas, shape, x, (it.h, it.w, it.c), at, 1);
    let mut sums = [[[0.0; L]; K]; K];
    let out_w = it.out_w();
    for out_y in 0..it.out_h() {
        for out_x in 0..out_w {
            let corner = (out_y * shape.w + out_x) * it.stride;
            let dy = block::<L>(dy, (out_y * out_w + out_x) * it.c + at);
            for ky in 0..K {
                let line = &canvas[(corner + ky * shape.w) * L..][..K * L];
                for kx in 0..K {
                    for lane in 0..L {
                        sums[ky][kx][lane] += dy[lane] * line[kx * L + lane];
                    }
                }
            }
        }
    }
    for (tap, sums) in sums.iter().flatten().enumerate() {
        for (sum, part) in sum[tap * it.c + at..][..L].iter_mut().zip(sums) {
            *sum += part;
        }
    }
}

/// Copies the channels `at..at + L` of an image onto a cleared canvas, the pixels `spacing` apart.
#[inline(always)]
fn place<const L: usize>(
    canvas: &mut [f32],
    shape: Canvas,
    image: &[f32],
    (h, w, c): (usize, usize, usize),
    at: usize,
    spacing: usize,
) {
    canvas.fill(0.0);
    for y in 0..h {
        let line = &mut canvas[((y * spacing + shape.top) * shape.w + shape.left) * L..];
        for x in 0..w {
            let pixel = &image[(y * w + x) * c + at..][..L];
            line[x * spacing * L..][..L].copy_from_slice(pixel);
        }
    }
}

/// `start` and the sum over the K x K pixels from `corner` on, each times its weight.
#[inline(always)]
fn slide<const L: usize, const K: usize>(
    canvas: &[f32],
    canvas_w: usize,
    corner: usize,
    weights: &[[[f32; L]; K]; K],
    start: [f32; L],
) -> [f32; L] {
    let mut sum = start;
    for ky in 0..K {
        let line = &canvas[(corner + ky * canvas_w) * L..][..K * L];
        for kx in 0..K {
            for lane in 0..L {
                sum[lane] += line[kx * L + lane] * weights[ky][kx][lane];
            }
        }
    }
    sum
}

/// The weights of the channels `at..at + L`, tap by tap.
#[inline(always)]
fn taps<const L: usize, const K: usize>(weights: &[f32], at: usize) -> [[[f32; L]; K]; K] {
    let mut out = [[[0.0; L]; K]; K];
    for lane in 0..L {
        for (tap, out) in out.iter_mut().flatten().enumerate() {
            out[lane] = weights[(at + lane) * K * K + tap];
        }
    }
    out
}

#[inline(always)]
fn block<const L: usize>(values: &[f32], at: usize) -> [f32; L] {
    let mut out = [0.0; L];
    out.copy_from_slice(&values[at..at + L]);
    out
}
