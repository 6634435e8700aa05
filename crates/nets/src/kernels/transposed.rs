//! Transposed convolution 2x2 with stride 2: every pixel becomes a square of four. A matrix product whose
//! columns are the four pixels' channels, and a copy that puts them in their places.

use super::scratch::with_scratch;
use super::{Matrix, add_parts, kernel, multiply};
use rayon::prelude::*;

/// `n` images of `h` x `w` pixels and `c` channels become images of `2 h` x `2 w` pixels and `o` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transposed {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub o: usize,
}

/// Pixels of a square.
const TAPS: usize = 4;

impl Transposed {
    /// Columns of the product.
    const fn columns(&self) -> usize {
        TAPS * self.o
    }

    /// Input lines of one product: about 512 pixels.
    fn lines(&self) -> usize {
        (512 / self.w).max(1)
    }
}

/// Reorders weights from (in, out, y, x), as files hold them, to (in, y, x, out).
pub(crate) fn pack(weights: &[f32], o: usize) -> Vec<f32> {
    let mut out = vec![0.0; weights.len()];
    let rows = out.chunks_exact_mut(TAPS * o);
    for (out, weights) in rows.zip(weights.chunks_exact(TAPS * o)) {
        for (at, out) in out.iter_mut().enumerate() {
            *out = weights[at % o * TAPS + at / o];
        }
    }
    out
}

fn unpack(packed: &[f32], o: usize, weights: &mut [f32]) {
    let rows = weights.chunks_exact_mut(TAPS * o);
    for (weights, packed) in rows.zip(packed.chunks_exact(TAPS * o)) {
        for (at, weight) in weights.iter_mut().enumerate() {
            *weight = packed[at % TAPS * o + at / TAPS];
        }
    }
}

/// `y` from packed weights and a bias.
pub(crate) fn forward(it: &Transposed, x: &[f32], packed: &[f32], bias: &[f32], y: &mut [f32]) {
    let line = it.w * it.c;
    let weights = Matrix::new(packed, it.c, it.columns());
    y.par_chunks_mut(it.lines() * it.w * it.columns())
        .zip(x.par_chunks(it.lines() * line))
        .for_each(|(y, x)| {
            let pixels = x.len() / it.c;
            with_scratch(y.len(), |squares| {
                multiply(squares, Matrix::new(x, pixels, it.c), weights, false, 1);
                place(it, squares, bias, y);
            });
        });
}

kernel! {
    /// Puts the squares of some lines of pixels in their places and adds the bias.
    fn place<'a>(it: &'a Transposed, squares: &'a [f32], bias: &'a [f32], y: &'a mut [f32]) {
        let (o, line) = (it.o, it.w * it.columns());
        for (y, squares) in y.chunks_exact_mut(line).zip(squares.chunks_exact(line)) {
            let (upper, lower) = y.split_at_mut(line / 2);
            let outputs = upper.chunks_exact_mut(2 * o).zip(lower.chunks_exact_mut(2 * o));
            for ((upper, lower), square) in outputs.zip(squares.chunks_exact(TAPS * o)) {
                let (above, below) = square.split_at(2 * o);
                for half in 0..2 {
                    let (upper, above) = (&mut upper[half * o..][..o], &above[half * o..][..o]);
                    let (lower, below) = (&mut lower[half * o..][..o], &below[half * o..][..o]);
                    for ((upper, above), bias) in upper.iter_mut().zip(above).zip(bias) {
                        *upper = above + bias;
                    }
                    for ((lower, below), bias) in lower.iter_mut().zip(below).zip(bias) {
                        *lower = below + bias;
                    }
                }
            }
        }
    }
}

/// The gradients of weights (in the order of files) and bias; the gradient in the input takes the place of `x`.
pub(crate) fn backward(
    it: &Transposed,
    packed: &[f32],
    dy: &[f32],
    x: &mut [f32],
    dw: &mut [f32],
    db: &mut [f32],
) {
    let (line, columns) = (it.w * it.c, it.columns());
    let weights = Matrix::new(packed, it.c, columns).transposed();
    // Parts of several products each, so that their sums stay few.
    let part_lines = (it.n * it.h).div_ceil(16).next_multiple_of(it.lines());
    let mut sums: Vec<(Vec<f32>, Vec<f32>)> = x
        .par_chunks_mut(part_lines * line)
        .zip(dy.par_chunks(part_lines * it.w * columns))
        .map(|(x, dy)| {
            let (mut dw, mut db) = (vec![0.0; it.c * columns], vec![0.0; columns]);
            let tiles = x.chunks_mut(it.lines() * line);
            for (x, dy) in tiles.zip(dy.chunks(it.lines() * it.w * columns)) {
                let pixels = x.len() / it.c;
                with_scratch(dy.len(), |squares| {
                    collect(it, dy, squares, &mut db);
                    let squares = Matrix::new(squares, pixels, columns);
                    let old = Matrix::new(x, pixels, it.c).transposed();
                    multiply(&mut dw, old, squares, true, 1);
                    multiply(x, squares, weights, false, 1);
                });
            }
            (dw, db)
        })
        .collect();
    let (of_weights, of_bias): (Vec<_>, Vec<_>) = sums.drain(..).unzip();
    let mut sum = vec![0.0; it.c * columns];
    add_parts(&mut sum, &of_weights);
    unpack(&sum, it.o, dw);
    db.fill(0.0);
    for part in of_bias.iter().flat_map(|part| part.chunks_exact(it.o)) {
        super::add(db, part);
    }
}

kernel! {
    /// The way back from `place`: the gradients of each pixel's square in a row, and their sum.
    fn collect<'a>(it: &'a Transposed, dy: &'a [f32], squares: &'a mut [f32], sum: &'a mut [f32]) {
        let (o, line) = (it.o, it.w * it.columns());
        for (dy, squares) in dy.chunks_exact(line).zip(squares.chunks_exact_mut(line)) {
            let (upper, lower) = dy.split_at(line / 2);
            let inputs = upper.chunks_exact(2 * o).zip(lower.chunks_exact(2 * o));
            for ((upper, lower), square) in inputs.zip(squares.chunks_exact_mut(TAPS * o)) {
                square[..2 * o].copy_from_slice(upper);
                square[2 * o..].copy_from_slice(lower);
                for (sum, square) in sum.iter_mut().zip(square) {
                    *sum += *square;
                }
            }
        }
    }
}
