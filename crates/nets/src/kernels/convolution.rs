//! Convolution, channels last: as a product over what a kernel sees as it slides, or after Winograd where that is
//! faster.

use super::product::{self, Finish};
use super::scratch::with_scratch;
use super::slide::{self, Slide};
use super::winograd::{self, Winograd};
use super::{Activation, Padding};
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

    /// Inputs of one output value.
    const fn depth(&self) -> usize {
        self.kernel * self.kernel * self.c
    }

    const fn slide(&self) -> Slide {
        Slide {
            n: self.n,
            h: self.h,
            w: self.w,
            c: self.c,
            kernel: [self.kernel; 2],
            stride: self.stride,
            before: [self.top() as isize, self.left() as isize],
            out: [self.out_h(), self.out_w()],
        }
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
}

/// Reorders weights from (out, in, y, x), as files hold them, to (out, y, x, in), as windows see pictures.
fn reorder(it: &Convolution, weights: &[f32], out: &mut [f32]) {
    let taps = it.kernel * it.kernel;
    out.par_chunks_exact_mut(taps * it.c)
        .zip(weights.par_chunks_exact(taps * it.c))
        .with_min_len(8)
        .for_each(|(out, weights)| {
            for (tap, out) in out.chunks_exact_mut(it.c).enumerate() {
                for (out, weight) in out.iter_mut().zip(weights[tap..].iter().step_by(taps)) {
                    *out = *weight;
                }
            }
        });
}

/// Weights in the order that [`forward`] reads.
#[derive(Debug)]
pub(crate) enum Weights {
    /// As files hold them, or in the order of the kernel that reads them.
    Plain(Vec<f32>),
    Winograd(Vec<f32>),
}

impl Weights {
    /// From weights as files hold them.
    pub(crate) fn new(it: &Convolution, weights: &[f32]) -> Self {
        let mut packed = vec![0.0; packed_len(it)];
        pack(it, weights, &mut packed);
        match it.winograd() {
            Some(_) => Self::Winograd(packed),
            None => Self::Plain(packed),
        }
    }

    /// Whether they are what a convolution of this shape reads: the algorithm depends on the size of the picture.
    pub(crate) fn fit(&self, it: &Convolution) -> bool {
        matches!(self, Self::Winograd(_)) == it.winograd().is_some()
    }
}

fn packed_len(it: &Convolution) -> usize {
    match it.winograd() {
        Some(it) => winograd::packed_len(it.o, it.c),
        None => product::panels_len(it.depth(), it.o),
    }
}

fn pack(it: &Convolution, weights: &[f32], packed: &mut [f32]) {
    assert_eq!(weights.len(), it.o * it.depth(), "weights fill their shape");
    let depth = it.depth();
    if it.winograd().is_some() {
        winograd::pack(weights, it.o, it.c, packed);
    } else if it.kernel == 1 {
        product::pack_columns(depth, it.o, |o| &weights[o * depth..][..depth], packed);
    } else {
        with_scratch(weights.len(), |ordered| {
            reorder(it, weights, ordered);
            let ordered = &*ordered;
            product::pack_columns(depth, it.o, |o| &ordered[o * depth..][..depth], packed);
        });
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
    assert!(weights.fit(it), "weights are made for a shape");
    let (Weights::Plain(packed) | Weights::Winograd(packed)) = weights;
    forward_packed(it, x, packed, bias, after, y);
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
    with_scratch(packed_len(it), |packed| {
        pack(it, weights, packed);
        forward_packed(it, x, packed, bias, after, y);
    });
}

fn forward_packed(
    it: &Convolution,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    after: Activation,
    y: &mut [f32],
) {
    if let Some(it) = it.winograd() {
        winograd::forward(&it, x, packed, bias, after, y);
        return;
    }
    let finish = bias.map(|bias| Finish {
        bias,
        bounds: after.bounds(),
    });
    slide::multiply(&it.slide(), x, packed, it.o, finish, y);
}

/// The gradient in the input, with weights as files hold them.
pub(crate) fn backward_input(it: &Convolution, weights: &[f32], dy: &[f32], dx: &mut [f32]) {
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
    with_scratch(weights.len(), |ordered| {
        reorder(it, weights, ordered);
        if it.stride == 1 {
            Sub::new(it, [0, 0]).with_panels(it, ordered, |sub, panels| {
                slide::multiply(&sub.slide, dy, panels, it.c, None, dx);
            });
        } else {
            backward_strided(it, ordered, dy, dx);
        }
    });
}

/// The pixels of the input that lie `stride` apart, from `first` on: all of them see the same taps, so their gradient is
/// a convolution of the output's gradient with a part of the kernel, turned by half a circle.
#[derive(Debug)]
struct Sub {
    /// First line and column.
    first: [usize; 2],
    /// The taps of each axis, in the order of the output's gradient. Without any, the gradient is 0.
    taps: [Vec<usize>; 2],
    slide: Slide,
}

impl Sub {
    fn new(it: &Convolution, first: [usize; 2]) -> Self {
        let axis = |first: usize, side: usize, padding: usize| {
            let place = first + padding;
            let mut taps: Vec<usize> = (place % it.stride..it.kernel).step_by(it.stride).collect();
            taps.reverse();
            let before = taps.len() as isize - 1 - (place / it.stride) as isize;
            (taps, before, side.saturating_sub(first).div_ceil(it.stride))
        };
        let (of_y, top, out_h) = axis(first[0], it.h, it.top());
        let (of_x, left, out_w) = axis(first[1], it.w, it.left());
        let slide = Slide {
            n: it.n,
            h: it.out_h(),
            w: it.out_w(),
            c: it.o,
            kernel: [of_y.len(), of_x.len()],
            stride: 1,
            before: [top, left],
            out: [out_h, out_w],
        };
        Self {
            first,
            taps: [of_y, of_x],
            slide,
        }
    }

    /// Calls `body` with the panels of the taps, from weights of [`reorder`].
    fn with_panels<R>(
        self,
        it: &Convolution,
        ordered: &[f32],
        body: impl FnOnce(&Self, &[f32]) -> R,
    ) -> R {
        let depth = self.slide.depth();
        with_scratch(product::panels_len(depth, it.c), |panels| {
            let row = |at: usize| {
                let (tap, o) = (at / it.o, at % it.o);
                let columns = self.taps[1].len();
                let (y, x) = (self.taps[0][tap / columns], self.taps[1][tap % columns]);
                &ordered[((o * it.kernel + y) * it.kernel + x) * it.c..][..it.c]
            };
            if depth > 0 {
                product::pack_rows(depth, it.c, row, panels);
            }
            body(&self, panels)
        })
    }

    /// Writes the gradient of the sub's pixels.
    fn place(&self, it: &Convolution, gradients: Option<&[f32]>, dx: &mut [f32]) {
        let [out_h, out_w] = self.slide.out;
        let (stride, c) = (it.stride, it.c);
        dx.par_chunks_exact_mut(it.h * it.w * c)
            .enumerate()
            .for_each(|(image, dx)| {
                for y in 0..out_h {
                    let line = (self.first[0] + y * stride) * it.w + self.first[1];
                    for x in 0..out_w {
                        let place = &mut dx[(line + x * stride) * c..][..c];
                        match gradients {
                            Some(it) => {
                                let at = ((image * out_h + y) * out_w + x) * c;
                                place.copy_from_slice(&it[at..at + c]);
                            }
                            None => place.fill(0.0),
                        }
                    }
                }
            });
    }
}

fn backward_strided(it: &Convolution, ordered: &[f32], dy: &[f32], dx: &mut [f32]) {
    for at in 0..it.stride * it.stride {
        let sub = Sub::new(it, [at / it.stride, at % it.stride]);
        let rows = sub.slide.rows();
        if rows == 0 {
            continue;
        }
        if sub.slide.depth() == 0 {
            sub.place(it, None, dx);
            continue;
        }
        with_scratch(rows * it.c, |gradients| {
            sub.with_panels(it, ordered, |sub, panels| {
                slide::multiply(&sub.slide, dy, panels, it.c, None, gradients);
                sub.place(it, Some(gradients), dx);
            });
        });
    }
}

/// The gradient in the weights, written in the order of files.
pub(crate) fn backward_weights(it: &Convolution, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if let Some(it) = it.winograd() {
        winograd::backward_weights(&it, x, dy, dw);
        return;
    }
    let taps = it.kernel * it.kernel;
    slide::add_windows(&it.slide(), x, dy, it.o, |sums| {
        dw.par_chunks_exact_mut(it.depth())
            .enumerate()
            .with_min_len(8)
            .for_each(|(o, dw)| {
                for (at, dw) in dw.iter_mut().enumerate() {
                    *dw = sums.get(o, at % taps * it.c + at / taps);
                }
            });
    });
}
