//! Winograd's convolution F(4x4, 3x3), channels last: 3x3 kernels with stride 1 and a border of one.
//!
//! A tile of 4 x 4 outputs needs 6 x 6 inputs. In the transformed space it costs 36 products a pair of channels where
//! the definition costs 144 (Lavin and Gray 2016, whose matrices B, G and A these are). The transformations work on
//! sixteen channels at once; where channels fill no block of sixteen, the rest is zeros.
//!
//! Rounding is about ten times that of the definition: 1e-5 of the largest value.

#![expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]
#![expect(
    clippy::many_single_char_names,
    clippy::needless_range_loop,
    reason = "the small matrices of the paper, over whose sides the compiler unrolls the loops"
)]

use super::product::{Left, PANEL, Places, lanes_of, outer, rows_by_panel};
use super::scratch::with_scratch;
use super::{Activation, LANES, Simd, add_chunks, cut, kernel};
use rayon::prelude::*;
use std::ops::Range;

/// Values of a transformed tile.
const PLANES: usize = 36;
/// Sides of a tile of outputs and of inputs.
const OUT: usize = 4;
const IN: usize = 6;

/// `n` images of `h` x `w` pixels, `c` channels to `o` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Winograd {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub o: usize,
}

impl Winograd {
    const fn tile_rows(&self) -> usize {
        self.h.div_ceil(OUT)
    }

    const fn tile_columns(&self) -> usize {
        self.w.div_ceil(OUT)
    }

    /// Rows of tiles of all images.
    const fn all_rows(&self) -> usize {
        self.n * self.tile_rows()
    }

    /// The line of all images at which a row of tiles begins.
    const fn line(&self, row: usize) -> usize {
        row / self.tile_rows() * self.h + row % self.tile_rows() * OUT
    }

    /// Rows of tiles of one task: enough tiles that reading the weights is little beside the products, few enough
    /// that what a task writes and reads again stays near the processor.
    fn rows_of_task(&self) -> usize {
        const TILES: usize = 128;
        (TILES / self.tile_columns()).clamp(1, self.all_rows().div_ceil(2).max(1))
    }
}

const fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// Values of one plane of `tiles` transformed tiles. One line more than they take: planes of a power of two would all
/// fall on the same lines of the first-level cache.
const fn plane(tiles: usize, blocks: usize) -> usize {
    (tiles * blocks + 1) * LANES
}

/// Values of weights in the transformed space, to `o` outputs of `c` inputs.
pub(crate) const fn packed_len(o: usize, c: usize) -> usize {
    o.div_ceil(PANEL) * PLANES * blocks(c) * LANES * PANEL
}

/// Weights in the transformed space: `[o / 32][36][c, in blocks][32]`.
pub(crate) fn pack(weights: &[f32], o: usize, c: usize, packed: &mut [f32]) {
    pack_by(o, c, packed, |out, input| {
        let at = (out * c + input) * 9;
        weights[at..].first_chunk().copied().unwrap_or_default()
    });
}

/// The weights that lead from the gradient of the output to that of the input: the roles of inputs and outputs
/// exchanged, and the kernels turned by half a circle.
pub(crate) fn pack_turned(weights: &[f32], o: usize, c: usize, packed: &mut [f32]) {
    pack_by(c, o, packed, |out, input| {
        let at = (input * c + out) * 9;
        let mut kernel: [f32; 9] = weights[at..].first_chunk().copied().unwrap_or_default();
        kernel.reverse();
        kernel
    });
}

fn pack_by(
    o: usize,
    c: usize,
    packed: &mut [f32],
    kernel: impl Fn(usize, usize) -> [f32; 9] + Sync,
) {
    let depth = blocks(c) * LANES;
    packed
        .par_chunks_mut(PLANES * depth * PANEL)
        .enumerate()
        .for_each(|(panel, packed)| {
            for half in 0..2 {
                let first = panel * PANEL + half * LANES;
                let outputs = first.min(o)..(first + LANES).min(o);
                for input in 0..depth {
                    let mut taps = [[0.0; LANES]; 9];
                    let outputs = if input < c { outputs.clone() } else { 0..0 };
                    for (lane, out) in outputs.enumerate() {
                        for (taps, it) in taps.iter_mut().zip(kernel(out, input)) {
                            taps[lane] = it;
                        }
                    }
                    let at = input * PANEL + half * LANES;
                    transform_weights(&taps, at, depth * PANEL, packed);
                }
            }
        });
}

kernel! {
    /// `G g G^T`, its 36 values from `at` on, `stride` apart.
    fn transform_weights<'a>[simd](taps: &'a [[f32; LANES]; 9], at: usize, stride: usize, out: &'a mut [f32]) {
        let mut columns = [[simd.splat(0.0); 3]; IN];
        for x in 0..3 {
            let column = weights_1d(simd, [0, 3, 6].map(|y| simd.load(&taps[y + x])));
            for y in 0..IN {
                columns[y][x] = column[y];
            }
        }
        for y in 0..IN {
            let row = weights_1d(simd, columns[y]);
            for x in 0..IN {
                put(simd, row[x], out, at + (y * IN + x) * stride);
            }
        }
    }
}

/// G.
#[inline(always)]
fn weights_1d<S: Simd>(s: S, [a, b, c]: [S::V; 3]) -> [S::V; IN] {
    let sixth = s.splat(-1.0 / 6.0);
    let both = s.add(a, c);
    // a / 24 + c / 6, and b / 12
    let outer = s.fma(a, s.splat(1.0 / 24.0), s.mul(c, s.splat(1.0 / 6.0)));
    let inner = s.mul(b, s.splat(1.0 / 12.0));
    [
        s.mul(a, s.splat(0.25)),
        s.mul(s.add(both, b), sixth),
        s.mul(s.sub(both, b), sixth),
        s.add(outer, inner),
        s.sub(outer, inner),
        c,
    ]
}

/// B^T: six inputs.
#[inline(always)]
fn input_1d<S: Simd>(s: S, d: [S::V; IN]) -> [S::V; IN] {
    let four = s.splat(4.0);
    let minus_four = s.splat(-4.0);
    let minus_five = s.splat(-5.0);
    let a = s.fma(d[2], minus_four, d[4]);
    let b = s.fma(d[1], minus_four, d[3]);
    let c = s.sub(d[4], d[2]);
    let e = s.sub(d[3], d[1]);
    let twice = s.add(e, e);
    [
        s.fma(d[0], four, s.fma(d[2], minus_five, d[4])),
        s.add(a, b),
        s.sub(a, b),
        s.add(c, twice),
        s.sub(c, twice),
        s.fma(d[1], four, s.fma(d[3], minus_five, d[5])),
    ]
}

/// A^T: six products to four outputs.
#[inline(always)]
fn output_1d<S: Simd>(s: S, t: [S::V; IN]) -> [S::V; OUT] {
    let (a, b) = (s.add(t[1], t[2]), s.sub(t[1], t[2]));
    let (c, e) = (s.add(t[3], t[4]), s.sub(t[3], t[4]));
    [
        s.add(t[0], s.add(a, c)),
        s.fma(e, s.splat(2.0), b),
        s.fma(c, s.splat(4.0), a),
        s.add(s.fma(e, s.splat(8.0), b), t[5]),
    ]
}

/// A: four gradients of outputs.
#[inline(always)]
fn gradient_1d<S: Simd>(s: S, d: [S::V; OUT]) -> [S::V; IN] {
    let (a, b) = (s.add(d[0], d[2]), s.add(d[1], d[3]));
    let c = s.fma(d[2], s.splat(4.0), d[0]);
    let e = s.fma(d[3], s.splat(8.0), s.add(d[1], d[1]));
    [
        d[0],
        s.add(a, b),
        s.sub(a, b),
        s.add(c, e),
        s.sub(c, e),
        d[3],
    ]
}

/// G^T: six sums to three taps.
#[inline(always)]
fn taps_1d<S: Simd>(s: S, u: [S::V; IN]) -> [S::V; 3] {
    let (a, b) = (s.add(u[1], u[2]), s.sub(u[2], u[1]));
    let (c, e) = (s.add(u[3], u[4]), s.sub(u[3], u[4]));
    let sixth = s.splat(1.0 / 6.0);
    let first = s.fma(c, s.splat(1.0 / 24.0), s.mul(u[0], s.splat(0.25)));
    [
        s.fma(a, s.splat(-1.0 / 6.0), first),
        s.fma(b, sixth, s.mul(e, s.splat(1.0 / 12.0))),
        s.add(s.mul(s.sub(c, a), sixth), u[5]),
    ]
}

#[inline(always)]
fn put<S: Simd>(simd: S, it: S::V, out: &mut [f32], at: usize) {
    let place = out[at..].first_chunk_mut().expect("a plane has its place");
    simd.store(it, place);
}

#[inline(always)]
fn get<S: Simd>(simd: S, values: &[f32], at: usize) -> S::V {
    simd.load(values[at..].first_chunk().expect("a plane has its place"))
}

/// `y = x * weights (+ bias)`, then what comes `after`; weights of [`pack`].
pub(crate) fn forward(
    it: &Winograd,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    after: Activation,
    y: &mut [f32],
) {
    let mut padded = vec![0.0; it.o.div_ceil(PANEL) * PANEL];
    if let Some(bias) = bias {
        padded[..it.o].copy_from_slice(bias);
    }
    let bounds = if bias.is_some() {
        after.bounds()
    } else {
        Activation::None.bounds()
    };
    let rows = it.rows_of_task();
    let mut tasks = Vec::new();
    let mut rest = y;
    for first in (0..it.all_rows()).step_by(rows) {
        let rows = first..(first + rows).min(it.all_rows());
        let lines = it.line(rows.end) - it.line(first);
        let (y, others) = rest.split_at_mut(lines * it.w * it.o);
        tasks.push((rows, y));
        rest = others;
    }
    tasks.into_par_iter().for_each(|(rows, y)| {
        let tiles = rows.len() * it.tile_columns();
        let starts: Vec<usize> = (0..tiles).map(|tile| tile * LANES).collect();
        let (inputs, outputs) = (plane(tiles, blocks(it.c)), plane(tiles, 2));
        with_scratch(PLANES * (inputs + outputs), |scratch| {
            let (inputs, outputs) = scratch.split_at_mut(PLANES * inputs);
            transform_inputs(it, x, rows.clone(), inputs);
            let panel_len = PLANES * blocks(it.c) * LANES * PANEL;
            for (at, panels) in packed.chunks_exact(panel_len).enumerate() {
                multiply_planes(it, inputs, panels, at, &starts, outputs);
                transform_outputs(it, outputs, at, rows.clone(), &padded, bounds, y);
            }
        });
    });
}

kernel! {
    /// The product of each plane with its panel.
    fn multiply_planes<'a>[simd](it: &'a Winograd, inputs: &'a [f32], panels: &'a [f32], at: usize, starts: &'a [usize], outputs: &'a mut [f32]) {
        let tiles = starts.len();
        let columns = (it.o - at * PANEL).min(PANEL).next_multiple_of(LANES);
        let places = Places { row: LANES, block: tiles * LANES };
        let depth = blocks(it.c) * LANES;
        let inputs = inputs.chunks_exact(plane(tiles, blocks(it.c)));
        let outputs = outputs.chunks_exact_mut(plane(tiles, 2));
        for ((values, panel), out) in inputs.zip(panels.chunks_exact(depth * PANEL)).zip(outputs) {
            let left = Left { values, starts, runs: blocks(it.c), distance: tiles * LANES, len: LANES };
            rows_by_panel(simd, left, panel, columns, out, places, None);
        }
    }
}

kernel! {
    /// `B^T d B` of the tiles of some rows: `[36][c / 16][tiles][16]`.
    fn transform_inputs<'a>[simd](it: &'a Winograd, x: &'a [f32], rows: Range<usize>, out: &'a mut [f32]) {
        let tile_columns = it.tile_columns();
        let tiles = rows.len() * tile_columns;
        let plane = plane(tiles, blocks(it.c));
        let zero = simd.splat(0.0);
        for (at, row) in rows.enumerate() {
            let line = it.line(row);
            let top = row % it.tile_rows() * OUT;
            // The lines that a tile sees, counted from the one above it.
            let seen = usize::from(top == 0)..IN.min(it.h + 1 - top);
            for block in 0..blocks(it.c) {
                let first = block * LANES;
                // Neighbours share two columns.
                let mut shared = [
                    input_column(simd, it, x, [line, first, 0], seen.clone()),
                    input_column(simd, it, x, [line, first, 1], seen.clone()),
                ];
                for tile in 0..tile_columns {
                    let mut columns = [[zero; IN]; IN];
                    let left = tile * OUT;
                    for i in 0..IN {
                        let it = if i < 2 {
                            shared[i]
                        } else {
                            input_column(simd, it, x, [line, first, left + i], seen.clone())
                        };
                        for j in 0..IN {
                            columns[j][i] = it[j];
                        }
                        if i >= OUT {
                            shared[i - OUT] = it;
                        }
                    }
                    let at = (block * tiles + at * tile_columns + tile) * LANES;
                    for j in 0..IN {
                        let row = input_1d(simd, columns[j]);
                        for i in 0..IN {
                            put(simd, row[i], out, (j * IN + i) * plane + at);
                        }
                    }
                }
            }
        }
    }
}

/// `B^T` of a column of a tile whose second line is `line` of all images, of the channels from `first` on, of the
/// lines that lie inside of the picture. Column 0 lies left of it.
#[inline(always)]
fn input_column<S: Simd>(
    simd: S,
    it: &Winograd,
    x: &[f32],
    [line, first, column]: [usize; 3],
    seen: Range<usize>,
) -> [S::V; IN] {
    let mut d = [simd.splat(0.0); IN];
    if column == 0 || column > it.w {
        return d;
    }
    if seen.len() == IN && first + LANES <= it.c {
        let at = ((line - 1) * it.w + column - 1) * it.c + first;
        for j in 0..IN {
            d[j] = get(simd, x, at + j * it.w * it.c);
        }
    } else {
        for j in seen {
            let at = ((line + j - 1) * it.w + column - 1) * it.c;
            d[j] = lanes_of(simd, &x[at + first..at + it.c]);
        }
    }
    input_1d(simd, d)
}

kernel! {
    /// `A^T m A` of 32 channels, with bias and what comes after, to the lines of `y` that the rows cover.
    fn transform_outputs<'a>[simd](it: &'a Winograd, products: &'a [f32], panel: usize, rows: Range<usize>, bias: &'a [f32], bounds: [f32; 2], y: &'a mut [f32]) {
        let tile_columns = it.tile_columns();
        let tiles = rows.len() * tile_columns;
        let plane = plane(tiles, 2);
        let begin = it.line(rows.start);
        let zero = simd.splat(0.0);
        let [low, high] = bounds.map(|it| simd.splat(it));
        for (at, row) in rows.enumerate() {
            let line = it.line(row) - begin;
            let lines = OUT.min(it.h - row % it.tile_rows() * OUT);
            for half in 0..2 {
                let first = panel * PANEL + half * LANES;
                if first >= it.o {
                    break;
                }
                let lanes = (it.o - first).min(LANES);
                let bias = get(simd, bias, first);
                for tile in 0..tile_columns {
                    let left = tile * OUT;
                    let at = (half * tiles + at * tile_columns + tile) * LANES;
                    let mut columns = [[zero; IN]; OUT];
                    for i in 0..IN {
                        let mut m = [zero; IN];
                        for j in 0..IN {
                            m[j] = get(simd, products, (j * IN + i) * plane + at);
                        }
                        let column = output_1d(simd, m);
                        for j in 0..OUT {
                            columns[j][i] = column[j];
                        }
                    }
                    for j in 0..OUT {
                        if j >= lines {
                            break;
                        }
                        let row = output_1d(simd, columns[j]);
                        let pixel = ((line + j) * it.w + left) * it.o + first;
                        for i in 0..OUT {
                            if left + i >= it.w {
                                break;
                            }
                            let it_at = pixel + i * it.o;
                            let value = simd.hold(simd.add(row[i], bias), low, high);
                            if lanes == LANES {
                                put(simd, value, y, it_at);
                            } else {
                                let mut values = [0.0; LANES];
                                simd.store(value, &mut values);
                                y[it_at..it_at + lanes].copy_from_slice(&values[..lanes]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The gradient in the weights, in the order of files.
pub(crate) fn backward_weights(it: &Winograd, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let (c, o) = (blocks(it.c), blocks(it.o));
    let sum_len = c * o * LANES * LANES;
    let rows = it.rows_of_task();
    // At most 32 MiB of partial sums, and a few tasks for each.
    let parts = ((1 << 23) / (PLANES * sum_len))
        .min(it.all_rows() / rows / 4)
        .clamp(1, 16);
    with_scratch(parts * PLANES * sum_len, |sums| {
        sums.par_chunks_exact_mut(PLANES * sum_len)
            .zip(cut(it.all_rows(), parts).collect::<Vec<_>>())
            .for_each(|(sum, range)| {
                for first in range.clone().step_by(rows) {
                    let rows = first..(first + rows).min(range.end);
                    add_rows(it, x, dy, rows, sum, first > range.start);
                }
            });
        add_chunks(sums, PLANES * sum_len);
        let sum = &sums[..PLANES * sum_len];
        dw.par_chunks_mut(LANES * it.c * 9)
            .enumerate()
            .for_each(|(block, dw)| transform_back(it, sum, block, dw));
    });
}

/// What some rows of tiles add to the gradient, in the transformed space: `[36][c / 16][o / 16][16][16]`.
fn add_rows(
    it: &Winograd,
    x: &[f32],
    dy: &[f32],
    rows: Range<usize>,
    sum: &mut [f32],
    is_begun: bool,
) {
    let (c, o) = (blocks(it.c), blocks(it.o));
    let tiles = rows.len() * it.tile_columns();
    let (of_x, of_dy) = (plane(tiles, c), plane(tiles, o));
    with_scratch(PLANES * (of_x + of_dy), |scratch| {
        let (inputs, gradients) = scratch.split_at_mut(PLANES * of_x);
        rayon::join(
            || transform_inputs(it, x, rows.clone(), inputs),
            || transform_gradients(it, dy, rows.clone(), gradients),
        );
        // Few parts leave threads idle, so planes are tasks too.
        sum.par_chunks_exact_mut(c * o * LANES * LANES)
            .zip(inputs.par_chunks_exact(of_x))
            .zip(gradients.par_chunks_exact(of_dy))
            .with_min_len(4)
            .for_each(|((sum, x), dy)| {
                let (x, dy) = (&x[..tiles * c * LANES], &dy[..tiles * o * LANES]);
                add_products(x, dy, tiles, sum, is_begun);
            });
    });
}

kernel! {
    fn add_products<'a>[simd](x: &'a [f32], dy: &'a [f32], tiles: usize, sum: &'a mut [f32], is_begun: bool) {
        outer(simd, x, dy, tiles, sum, is_begun);
    }
}

kernel! {
    /// `A g A^T` of the tiles of some rows: `[36][o / 16][tiles][16]`.
    fn transform_gradients<'a>[simd](it: &'a Winograd, dy: &'a [f32], rows: Range<usize>, out: &'a mut [f32]) {
        let tile_columns = it.tile_columns();
        let tiles = rows.len() * tile_columns;
        let plane = plane(tiles, blocks(it.o));
        let zero = simd.splat(0.0);
        for (at, row) in rows.enumerate() {
            let line = it.line(row);
            let lines = OUT.min(it.h - row % it.tile_rows() * OUT);
            for block in 0..blocks(it.o) {
                let first = block * LANES;
                for tile in 0..tile_columns {
                    let left = tile * OUT;
                    let mut columns = [[zero; OUT]; IN];
                    for i in 0..OUT {
                        if left + i >= it.w {
                            break;
                        }
                        let at = (line * it.w + left + i) * it.o;
                        let mut d = [zero; OUT];
                        if lines == OUT && first + LANES <= it.o {
                            for j in 0..OUT {
                                d[j] = get(simd, dy, at + first + j * it.w * it.o);
                            }
                        } else {
                            for j in 0..lines {
                                let at = at + j * it.w * it.o;
                                d[j] = lanes_of(simd, &dy[at + first..at + it.o]);
                            }
                        }
                        let column = gradient_1d(simd, d);
                        for j in 0..IN {
                            columns[j][i] = column[j];
                        }
                    }
                    let at = (block * tiles + at * tile_columns + tile) * LANES;
                    for j in 0..IN {
                        let row = gradient_1d(simd, columns[j]);
                        for i in 0..IN {
                            put(simd, row[i], out, (j * IN + i) * plane + at);
                        }
                    }
                }
            }
        }
    }
}

kernel! {
    /// `G^T u G` of sixteen outputs, written as files hold weights.
    fn transform_back<'a>[simd](it: &'a Winograd, sum: &'a [f32], block: usize, dw: &'a mut [f32]) {
        let o = blocks(it.o);
        let plane = blocks(it.c) * o * LANES * LANES;
        let mut taps = [[0.0; LANES]; 9];
        for input in 0..it.c {
            let at = ((input / LANES * o + block) * LANES + input % LANES) * LANES;
            let mut columns = [[simd.splat(0.0); IN]; 3];
            for x in 0..IN {
                let mut u = [simd.splat(0.0); IN];
                for y in 0..IN {
                    u[y] = get(simd, sum, (y * IN + x) * plane + at);
                }
                let column = taps_1d(simd, u);
                for y in 0..3 {
                    columns[y][x] = column[y];
                }
            }
            for y in 0..3 {
                let row = taps_1d(simd, columns[y]);
                for x in 0..3 {
                    simd.store(row[x], &mut taps[y * 3 + x]);
                }
            }
            for (lane, dw) in dw.chunks_exact_mut(it.c * 9).enumerate() {
                for (dw, taps) in dw[input * 9..][..9].iter_mut().zip(&taps) {
                    *dw = taps[lane];
                }
            }
        }
    }
}
