//! Convolution, channels last: as a matrix product over gathered patches (im2col), or after Winograd where that is
//! faster. With a 1x1 kernel the patches are the input itself and nothing is gathered.

use super::scratch::with_scratch;
use super::winograd::{self, Winograd};
use super::{Activation, Matrix, Padding, add_parts, cut, held, kernel, multiply};
use rayon::prelude::*;

/// The shape of a convolution: `n` images of `h` x `w` pixels and `c` channels give `o` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Convolution {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub o: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: Padding,
}

/// Fewer output rows than this are left to the product to cut, over channels too.
const FEW_ROWS: usize = 1024;
/// Parts of a product of few rows: enough for the usual machine, and each still worth a task.
const FEW_ROWS_PARTS: usize = 8;

impl Convolution {
    pub(crate) const fn out_h(&self) -> usize {
        self.padding.output(self.h, self.kernel, self.stride)
    }

    pub(crate) const fn out_w(&self) -> usize {
        self.padding.output(self.w, self.kernel, self.stride)
    }

    /// Rows of zeros above the picture.
    const fn top(&self) -> usize {
        self.padding.before(self.h, self.kernel, self.stride)
    }

    /// Columns of zeros left of it.
    const fn left(&self) -> usize {
        self.padding.before(self.w, self.kernel, self.stride)
    }

    /// Output pixels of all images.
    pub(crate) const fn rows(&self) -> usize {
        self.n * self.out_h() * self.out_w()
    }

    /// Inputs of one output value.
    pub(crate) const fn depth(&self) -> usize {
        self.kernel * self.kernel * self.c
    }

    const fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.top() == 0
    }

    /// The shape for Winograd's algorithm, where it can be used and is faster: not where the channels fill no
    /// block, nor where a picture fills no tile.
    fn winograd(&self) -> Option<Winograd> {
        let is_its_kind = self.kernel == 3
            && self.stride == 1
            && (self.top(), self.left()) == (1, 1)
            && (self.out_h(), self.out_w()) == (self.h, self.w);
        let pays = self.c >= 16 && self.o >= 16 && self.h.min(self.w) >= 3;
        let Self { n, h, w, c, o, .. } = *self;
        (is_its_kind && pays).then_some(Winograd { n, h, w, c, o })
    }

    /// Output rows of one task. The gathered patches of a task (about 1 MiB) should stay in the second-level cache.
    fn tile(&self) -> usize {
        ((1 << 18) / self.depth()).clamp(128, 2048)
    }
}

/// Calls `body` with the patches of the output rows `first..first + len`, each a row of `depth` values.
fn patches<R>(
    it: &Convolution,
    x: &[f32],
    first: usize,
    len: usize,
    body: impl FnOnce(&[f32]) -> R,
) -> R {
    let depth = it.depth();
    if it.is_pointwise() {
        return body(&x[first * depth..][..len * depth]);
    }
    with_scratch(len * depth, |patches| {
        for (row, patch) in patches.chunks_exact_mut(depth).enumerate() {
            gather(it, x, first + row, patch);
        }
        body(patches)
    })
}

/// Copies what the kernel sees at one output row, in the order (y, x, channel); zero outside of the image.
fn gather(it: &Convolution, x: &[f32], row: usize, patch: &mut [f32]) {
    let run = it.kernel * it.c;
    for (ky, line) in patch.chunks_exact_mut(run).enumerate() {
        match line_of(it, row, ky) {
            None => line.fill(0.0),
            Some(Line { skip, len, at }) => {
                line[..skip].fill(0.0);
                line[skip..skip + len].copy_from_slice(&x[at..at + len]);
                line[skip + len..].fill(0.0);
            }
        }
    }
}

/// The part of one kernel line that lies inside of the image.
struct Line {
    /// Values left of the image.
    skip: usize,
    /// Values inside.
    len: usize,
    /// Where they begin in the input.
    at: usize,
}

fn line_of(it: &Convolution, row: usize, ky: usize) -> Option<Line> {
    let (out_h, out_w) = (it.out_h(), it.out_w());
    let (image, pixel) = (row / (out_h * out_w), row % (out_h * out_w));
    let y = (pixel / out_w * it.stride + ky).checked_sub(it.top())?;
    let padding = it.left();
    let left = pixel % out_w * it.stride;
    let begin = left.max(padding);
    let end = (left + it.kernel).min(it.w + padding);
    (y < it.h && begin < end).then(|| Line {
        skip: (begin - left) * it.c,
        len: (end - begin) * it.c,
        at: ((image * it.h + y) * it.w + begin - padding) * it.c,
    })
}

/// Reorders weights from (out, in, y, x), as files hold them, to (out, y, x, in), as patches lie.
fn pack(weights: &[f32], o: usize, c: usize, kernel: usize) -> Vec<f32> {
    reorder(weights, o, c, kernel * kernel)
}

/// The way back from [`pack`].
fn unpack(it: &Convolution, packed: &[f32], weights: &mut [f32]) {
    if it.kernel == 1 {
        weights.copy_from_slice(packed);
    } else {
        weights.copy_from_slice(&reorder(packed, it.o, it.kernel * it.kernel, it.c));
    }
}

/// Transposes the two inner sides of `outer` x `a` x `b` values.
fn reorder(values: &[f32], outer: usize, a: usize, b: usize) -> Vec<f32> {
    assert_eq!(values.len(), outer * a * b, "weights fill their shape");
    if a == 1 || b == 1 {
        return values.to_vec();
    }
    let mut out = vec![0.0; outer * a * b];
    for (out, values) in out.chunks_exact_mut(a * b).zip(values.chunks_exact(a * b)) {
        for (at, out) in out.iter_mut().enumerate() {
            *out = values[at % a * b + at / a];
        }
    }
    out
}

/// Weights in the order that [`forward`] reads.
#[derive(Debug)]
pub(crate) enum Weights {
    /// Of [`pack`].
    Plain(Vec<f32>),
    Winograd(Vec<f32>),
}

impl Weights {
    /// From weights as files hold them.
    pub(crate) fn new(it: &Convolution, weights: &[f32]) -> Self {
        match it.winograd() {
            Some(_) => {
                let mut packed = vec![0.0; winograd::packed_len(it.o, it.c)];
                winograd::pack(weights, it.o, it.c, &mut packed);
                Self::Winograd(packed)
            }
            None => Self::Plain(pack(weights, it.o, it.c, it.kernel)),
        }
    }

    /// Whether they are what a convolution of this shape reads: the algorithm depends on the size of the picture.
    pub(crate) fn fit(&self, it: &Convolution) -> bool {
        matches!(self, Self::Winograd(_)) == it.winograd().is_some()
    }
}

/// `y = x * weights (+ bias)`, then what comes `after`. Panics when the weights do not fit.
pub(crate) fn forward(
    it: &Convolution,
    x: &[f32],
    weights: &Weights,
    bias: Option<&[f32]>,
    after: Activation,
    y: &mut [f32],
) {
    match (it.winograd(), weights) {
        (Some(it), Weights::Winograd(packed)) => winograd::forward(&it, x, packed, bias, after, y),
        (None, Weights::Plain(packed)) => forward_plain(it, x, packed, bias, after, y),
        _ => panic!("the weights were made for another shape"),
    }
}

/// [`forward`] with weights as files hold them, which change from step to step.
pub(crate) fn forward_once(
    it: &Convolution,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    after: Activation,
    y: &mut [f32],
) {
    if let Some(it) = it.winograd() {
        with_scratch(winograd::packed_len(it.o, it.c), |packed| {
            winograd::pack(weights, it.o, it.c, packed);
            winograd::forward(&it, x, packed, bias, after, y);
        });
        return;
    }
    let packed = pack(weights, it.o, it.c, it.kernel);
    forward_plain(it, x, &packed, bias, after, y);
}

/// [`forward`] as a product with weights of [`pack`].
pub(crate) fn forward_plain(
    it: &Convolution,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    after: Activation,
    y: &mut [f32],
) {
    let (rows, depth) = (it.rows(), it.depth());
    let weights = Matrix::new(packed, it.o, depth).transposed();
    if rows < FEW_ROWS {
        patches(it, x, 0, rows, |patches| {
            multiply(
                y,
                Matrix::new(patches, rows, depth),
                weights,
                false,
                FEW_ROWS_PARTS,
            );
        });
        finish(y, bias, after);
        return;
    }
    let tile = it.tile();
    y.par_chunks_mut(tile * it.o)
        .enumerate()
        .for_each(|(at, y)| {
            let len = y.len() / it.o;
            patches(it, x, at * tile, len, |patches| {
                multiply(y, Matrix::new(patches, len, depth), weights, false, 1);
            });
            finish(y, bias, after);
        });
}

fn finish(y: &mut [f32], bias: Option<&[f32]>, after: Activation) {
    let Some(bias) = bias else { return };
    add_bias(y, bias, after.bounds());
}

kernel! {
    fn add_bias<'a>(y: &'a mut [f32], bias: &'a [f32], bounds: [f32; 2]) {
        for pixel in y.chunks_exact_mut(bias.len()) {
            for (y, bias) in pixel.iter_mut().zip(bias) {
                *y = held(*y + bias, bounds);
            }
        }
}
}

/// The gradient in the input, with weights as files hold them.
pub(crate) fn backward_input(it: &Convolution, weights: &[f32], dy: &[f32], dx: &mut [f32]) {
    let (rows, depth) = (it.rows(), it.depth());
    if let Some(Winograd { n, h, w, c, o }) = it.winograd() {
        let turned = Winograd {
            n,
            h,
            w,
            c: o,
            o: c,
        };
        with_scratch(winograd::packed_len(c, o), |packed| {
            winograd::pack_turned(weights, o, c, packed);
            winograd::forward(&turned, dy, packed, None, Activation::None, dx);
        });
        return;
    }
    if !it.is_pointwise() {
        let packed = pack(weights, it.o, it.c, it.kernel);
        scatter_all(it, Matrix::new(&packed, it.o, depth), dy, dx);
        return;
    }
    let weights = Matrix::new(weights, it.o, depth);
    if rows < FEW_ROWS {
        multiply(
            dx,
            Matrix::new(dy, rows, it.o),
            weights,
            false,
            FEW_ROWS_PARTS,
        );
        return;
    }
    let tile = it.tile();
    dx.par_chunks_mut(tile * depth)
        .zip(dy.par_chunks(tile * it.o))
        .for_each(|(dx, dy)| {
            let dy = Matrix::new(dy, dx.len() / depth, it.o);
            multiply(dx, dy, weights, false, 1);
        });
}

/// An image a task: gradients of patches, added to the pixels that they were gathered from (col2im).
fn scatter_all(it: &Convolution, weights: Matrix<'_>, dy: &[f32], dx: &mut [f32]) {
    let (pixels, depth) = (it.out_h() * it.out_w(), it.depth());
    let one = Convolution { n: 1, ..*it };
    dx.par_chunks_mut(it.h * it.w * it.c)
        .zip(dy.par_chunks(pixels * it.o))
        .for_each(|(dx, dy)| {
            with_scratch(pixels * depth, |patches| {
                multiply(patches, Matrix::new(dy, pixels, it.o), weights, false, 1);
                dx.fill(0.0);
                for (row, patch) in patches.chunks_exact(depth).enumerate() {
                    scatter(&one, patch, row, dx);
                }
            });
        });
}

fn scatter(it: &Convolution, patch: &[f32], row: usize, dx: &mut [f32]) {
    for (ky, line) in patch.chunks_exact(it.kernel * it.c).enumerate() {
        if let Some(Line { skip, len, at }) = line_of(it, row, ky) {
            super::add(&mut dx[at..at + len], &line[skip..skip + len]);
        }
    }
}

/// The gradient in the weights, written in the order of files.
pub(crate) fn backward_weights(it: &Convolution, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if let Some(it) = it.winograd() {
        winograd::backward_weights(&it, x, dy, dw);
        return;
    }
    let (rows, depth) = (it.rows(), it.depth());
    let product = |rows: std::ops::Range<usize>, out: &mut [f32], add: bool, parts: usize| {
        let dy = Matrix::new(&dy[rows.start * it.o..rows.end * it.o], rows.len(), it.o);
        patches(it, x, rows.start, rows.len(), |patches| {
            let patches = Matrix::new(patches, rows.len(), depth);
            multiply(out, dy.transposed(), patches, add, parts);
        });
    };
    if rows < FEW_ROWS {
        let mut packed = vec![0.0; it.o * depth];
        product(0..rows, &mut packed, false, FEW_ROWS_PARTS);
        unpack(it, &packed, dw);
        return;
    }
    // At most 16 MiB of partial sums, so that adding them stays cheap beside the products.
    let parts = (rows / 512).min((4 << 20) / (it.o * depth)).clamp(2, 16);
    let ranges: Vec<_> = cut(rows, parts).collect();
    let mut sums: Vec<Vec<f32>> = ranges
        .into_par_iter()
        .map(|range| {
            let mut sum = vec![0.0; it.o * depth];
            let mut first = range.start;
            while first < range.end {
                let end = (first + it.tile()).min(range.end);
                product(first..end, &mut sum, first > range.start, 1);
                first = end;
            }
            sum
        })
        .collect();
    let rest = sums.split_off(1);
    add_parts(&mut sums[0], &rest);
    unpack(it, &sums[0], dw);
}
