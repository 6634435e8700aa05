//! Depthwise 3x3 convolution with a border of one: each channel has its own kernel.
//!
//! A task is an image. It walks over blocks of channels, copies each block into a small canvas with a border
//! of zeros, and slides over that: the inner loops know no edges, and what they touch fits the first caches.

#![expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]

use super::{Activation, add_parts, cut, held, kernel};
use rayon::prelude::*;
use std::cell::RefCell;

/// `n` images of `h` x `w` pixels and `c` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depthwise {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub stride: usize,
}

/// Kernel taps: 3 x 3.
const TAPS: usize = 9;
/// Channels of a block: one 512-bit register.
const BLOCK: usize = 16;

impl Depthwise {
    pub(crate) const fn out_h(&self) -> usize {
        (self.h - 1) / self.stride + 1
    }

    pub(crate) const fn out_w(&self) -> usize {
        (self.w - 1) / self.stride + 1
    }

    const fn in_len(&self) -> usize {
        self.h * self.w * self.c
    }

    const fn out_len(&self) -> usize {
        self.out_h() * self.out_w() * self.c
    }

    /// Values of a canvas of one channel.
    const fn canvas_len(&self) -> usize {
        (self.h + 2) * (self.w + 2)
    }
}

thread_local! {
    static CANVAS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

fn with_canvas<R>(len: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut canvas = CANVAS.take();
    if canvas.len() < len {
        canvas.resize(len, 0.0);
    }
    let result = body(&mut canvas[..len]);
    CANVAS.set(canvas);
    result
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
            with_canvas(it.canvas_len() * BLOCK, |canvas| {
                forward_image(it, x, [weights, bias], after, y, canvas);
            });
        });
}

kernel! {
    fn forward_image<'a>(it: &'a Depthwise, x: &'a [f32], learned: [&'a [f32]; 2], after: Activation, y: &'a mut [f32], canvas: &'a mut [f32]) {
        let mut at = 0;
        while at + BLOCK <= it.c {
            forward_block::<BLOCK>(it, x, learned, after, y, canvas, at);
            at += BLOCK;
        }
        while at < it.c {
            forward_block::<1>(it, x, learned, after, y, canvas, at);
            at += 1;
        }
}
}

#[inline(always)]
fn forward_block<const L: usize>(
    it: &Depthwise,
    x: &[f32],
    [weights, bias]: [&[f32]; 2],
    after: Activation,
    y: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let canvas = &mut canvas[..it.canvas_len() * L];
    place::<L>(canvas, it.w + 2, x, (it.h, it.w, it.c), at, 1);
    let weights = taps::<L>(weights, at);
    let bounds = after.bounds();
    let bias = block::<L>(bias, at);
    let out_w = it.out_w();
    for out_y in 0..it.out_h() {
        for out_x in 0..out_w {
            let corner = (out_y * (it.w + 2) + out_x) * it.stride;
            let mut sum = slide::<L>(canvas, it.w + 2, corner, &weights, bias);
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
    for kernel in turned.chunks_exact_mut(TAPS) {
        kernel.reverse();
    }
    let turned = turned.as_slice();
    dx.par_chunks_mut(it.in_len())
        .zip(dy.par_chunks(it.out_len()))
        .for_each(|(dx, dy)| {
            with_canvas(it.canvas_len() * BLOCK, |canvas| {
                backward_image(it, turned, dy, dx, canvas);
            });
        });
}

kernel! {
    fn backward_image<'a>(it: &'a Depthwise, turned: &'a [f32], dy: &'a [f32], dx: &'a mut [f32], canvas: &'a mut [f32]) {
        let mut at = 0;
        while at + BLOCK <= it.c {
            backward_block::<BLOCK>(it, turned, dy, dx, canvas, at);
            at += BLOCK;
        }
        while at < it.c {
            backward_block::<1>(it, turned, dy, dx, canvas, at);
            at += 1;
        }
}
}

#[inline(always)]
fn backward_block<const L: usize>(
    it: &Depthwise,
    turned: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let canvas = &mut canvas[..it.canvas_len() * L];
    let out = (it.out_h(), it.out_w(), it.c);
    place::<L>(canvas, it.w + 2, dy, out, at, it.stride);
    let weights = taps::<L>(turned, at);
    for y in 0..it.h {
        for x in 0..it.w {
            let sum = slide::<L>(canvas, it.w + 2, y * (it.w + 2) + x, &weights, [0.0; L]);
            dx[(y * it.w + x) * it.c + at..][..L].copy_from_slice(&sum);
        }
    }
}

/// The gradient in the weights, in the order of files.
pub(crate) fn backward_weights(it: &Depthwise, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let ranges: Vec<_> = cut(it.n, 16).collect();
    let mut sums: Vec<Vec<f32>> = ranges
        .into_par_iter()
        .map(|range| {
            let mut sum = vec![0.0; TAPS * it.c];
            with_canvas(it.canvas_len() * BLOCK, |canvas| {
                for image in range {
                    let x = &x[image * it.in_len()..][..it.in_len()];
                    let dy = &dy[image * it.out_len()..][..it.out_len()];
                    weights_image(it, x, dy, sum.as_mut_slice(), &mut *canvas);
                }
            });
            sum
        })
        .collect();
    let rest = sums.split_off(1);
    add_parts(&mut sums[0], &rest);
    for (channel, dw) in dw.chunks_exact_mut(TAPS).enumerate() {
        for (tap, dw) in dw.iter_mut().enumerate() {
            *dw = sums[0][tap * it.c + channel];
        }
    }
}

kernel! {
    fn weights_image<'a>(it: &'a Depthwise, x: &'a [f32], dy: &'a [f32], sum: &'a mut [f32], canvas: &'a mut [f32]) {
        let mut at = 0;
        while at + BLOCK <= it.c {
            weights_block::<BLOCK>(it, x, dy, sum, canvas, at);
            at += BLOCK;
        }
        while at < it.c {
            weights_block::<1>(it, x, dy, sum, canvas, at);
            at += 1;
        }
}
}

#[inline(always)]
fn weights_block<const L: usize>(
    it: &Depthwise,
    x: &[f32],
    dy: &[f32],
    sum: &mut [f32],
    canvas: &mut [f32],
    at: usize,
) {
    let canvas = &mut canvas[..it.canvas_len() * L];
    place::<L>(canvas, it.w + 2, x, (it.h, it.w, it.c), at, 1);
    let mut sums = [[0.0; L]; TAPS];
    let out_w = it.out_w();
    for out_y in 0..it.out_h() {
        for out_x in 0..out_w {
            let corner = (out_y * (it.w + 2) + out_x) * it.stride;
            let dy = block::<L>(dy, (out_y * out_w + out_x) * it.c + at);
            for ky in 0..3 {
                let line = &canvas[(corner + ky * (it.w + 2)) * L..][..3 * L];
                for kx in 0..3 {
                    for lane in 0..L {
                        sums[ky * 3 + kx][lane] += dy[lane] * line[kx * L + lane];
                    }
                }
            }
        }
    }
    for (tap, sums) in sums.iter().enumerate() {
        for (sum, part) in sum[tap * it.c + at..][..L].iter_mut().zip(sums) {
            *sum += part;
        }
    }
}

/// Copies the channels `at..at + L` of an image onto a cleared canvas, the pixels `spacing` apart, leaving a
/// border of one.
#[inline(always)]
fn place<const L: usize>(
    canvas: &mut [f32],
    canvas_w: usize,
    image: &[f32],
    (h, w, c): (usize, usize, usize),
    at: usize,
    spacing: usize,
) {
    canvas.fill(0.0);
    for y in 0..h {
        let line = &mut canvas[((y * spacing + 1) * canvas_w + 1) * L..];
        for x in 0..w {
            let pixel = &image[(y * w + x) * c + at..][..L];
            line[x * spacing * L..][..L].copy_from_slice(pixel);
        }
    }
}

/// `start` and the sum over the 3 x 3 pixels from `corner` on, each times its weight.
#[inline(always)]
fn slide<const L: usize>(
    canvas: &[f32],
    canvas_w: usize,
    corner: usize,
    weights: &[[f32; L]; TAPS],
    start: [f32; L],
) -> [f32; L] {
    let mut sum = start;
    for ky in 0..3 {
        let line = &canvas[(corner + ky * canvas_w) * L..][..3 * L];
        for kx in 0..3 {
            for lane in 0..L {
                sum[lane] += line[kx * L + lane] * weights[ky * 3 + kx][lane];
            }
        }
    }
    sum
}

/// The weights of the channels `at..at + L`, tap by tap.
#[inline(always)]
fn taps<const L: usize>(weights: &[f32], at: usize) -> [[f32; L]; TAPS] {
    let mut out = [[0.0; L]; TAPS];
    for lane in 0..L {
        for (tap, out) in out.iter_mut().enumerate() {
            out[lane] = weights[(at + lane) * TAPS + tap];
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
