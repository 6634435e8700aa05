//! Matrix products of small tiles, whose operands lie as the registers want them.
//!
//! The right side of a product is cut into *panels* of 32 columns: `[depth][32]`. The rows of the left side may lie
//! anywhere: a row is some *runs* of values, so the patches of a convolution are read where the picture holds them.

#![expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops over the sides of a tile, which the compiler unrolls into registers"
)]

use super::{LANES, Simd, add_products};
use rayon::prelude::*;

/// Columns of a panel: two registers of sixteen.
pub(crate) const PANEL: usize = 2 * LANES;

/// The depth whose part of a panel stays in the first-level cache: 32 KiB.
const DEPTH: usize = 256;

/// The left side of a product: row `r` is `runs` runs of `len` values, which begin `distance` apart, the first at
/// `starts[r]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left<'a> {
    pub values: &'a [f32],
    pub starts: &'a [usize],
    pub runs: usize,
    pub distance: usize,
    pub len: usize,
}

/// Where results go: the value (row, column) lies at `row * self.row + column / 16 * self.block + column % 16`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub row: usize,
    pub block: usize,
}

/// What is done with a finished sum: a bias for each column is added, and the value held between two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish<'a> {
    pub bias: &'a [f32],
    pub bounds: [f32; 2],
}

/// Values of panels for so many columns.
pub(crate) const fn panels_len(depth: usize, columns: usize) -> usize {
    columns.div_ceil(PANEL) * depth * PANEL
}

/// Panels of a matrix of which `row` gives the rows, `depth` of them.
pub(crate) fn pack_rows<'a>(
    depth: usize,
    columns: usize,
    row: impl Fn(usize) -> &'a [f32] + Sync,
    panels: &mut [f32],
) {
    each_panel(depth, columns, panels, |first, lanes, out| {
        for (at, out) in out.chunks_exact_mut(PANEL).enumerate() {
            out[..lanes].copy_from_slice(&row(at)[first..first + lanes]);
            out[lanes..].fill(0.0);
        }
    });
}

/// Panels of a matrix of which `column` gives the columns, each of `depth` values.
pub(crate) fn pack_columns<'a>(
    depth: usize,
    columns: usize,
    column: impl Fn(usize) -> &'a [f32] + Sync,
    panels: &mut [f32],
) {
    each_panel(depth, columns, panels, |first, lanes, out| {
        if lanes < PANEL {
            out.fill(0.0);
        }
        for lane in 0..lanes {
            let column = column(first + lane);
            for (out, value) in out[lane..].iter_mut().step_by(PANEL).zip(column) {
                *out = *value;
            }
        }
    });
}

/// Calls `body(first column, number of columns, panel)`; each panel is a task.
fn each_panel(
    depth: usize,
    columns: usize,
    panels: &mut [f32],
    body: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    panels
        .par_chunks_exact_mut(depth * PANEL)
        .enumerate()
        .for_each(|(panel, out)| {
            let first = panel * PANEL;
            body(first, (columns - first).min(PANEL), out);
        });
}

/// `out = left * panel`, of the panel's first `columns`.
#[inline(always)]
pub(crate) fn rows_by_panel<S: Simd>(
    simd: S,
    left: Left<'_>,
    panel: &[f32],
    columns: usize,
    out: &mut [f32],
    places: Places,
    finish: Option<Finish<'_>>,
) {
    let panel = panel.as_chunks::<LANES>().0.as_chunks::<2>().0;
    let mut go = Rows {
        simd,
        left,
        panel,
        columns,
        out,
        places,
        add: false,
        finish: None,
    };
    // Whole runs, or pieces of one.
    let (runs, len) = ((DEPTH / left.len).max(1), left.len.min(DEPTH));
    let mut run = 0;
    while run < left.runs {
        let mut at = 0;
        while at < left.len {
            let part = Left {
                values: &left.values[run * left.distance + at..],
                runs: runs.min(left.runs - run),
                len: len.min(left.len - at),
                ..left
            };
            go.left = part;
            go.panel = &panel[run * left.len + at..][..part.runs * part.len];
            let is_last = run + part.runs == left.runs && at + part.len == left.len;
            go.finish = if is_last { finish } else { None };
            match S::ROWS {
                8 => go.all::<8, 4>(),
                3 => go.all::<3, 1>(),
                _ => go.all::<1, 1>(),
            }
            go.add = true;
            at += part.len;
        }
        run += runs;
    }
}

struct Rows<'a, S> {
    simd: S,
    left: Left<'a>,
    panel: &'a [[[f32; LANES]; 2]],
    columns: usize,
    out: &'a mut [f32],
    places: Places,
    add: bool,
    finish: Option<Finish<'a>>,
}

impl<S: Simd> Rows<'_, S> {
    /// In tiles of `MANY` rows, then of `FEW`, then one by one.
    #[inline(always)]
    fn all<const MANY: usize, const FEW: usize>(&mut self) {
        let rows = self.left.starts.len();
        let mut row = 0;
        while row + MANY <= rows {
            self.tile::<MANY>(row);
            row += MANY;
        }
        while row + FEW <= rows {
            self.tile::<FEW>(row);
            row += FEW;
        }
        while row < rows {
            self.tile::<1>(row);
            row += 1;
        }
    }

    #[inline(always)]
    fn tile<const R: usize>(&mut self, row: usize) {
        if self.columns > LANES {
            self.tile_of::<R, 2>(row);
        } else {
            self.tile_of::<R, 1>(row);
        }
    }

    #[inline(always)]
    fn tile_of<const R: usize, const N: usize>(&mut self, row: usize) {
        let (simd, left) = (self.simd, self.left);
        let starts: &[usize; R] = left.starts[row..].first_chunk().expect("rows are there");
        let mut sums = [[simd.splat(0.0); N]; R];
        for run in 0..left.runs {
            let mut a = [left.values; R];
            for r in 0..R {
                a[r] = &left.values[starts[r] + run * left.distance..][..left.len];
            }
            let panel = &self.panel[run * left.len..][..left.len];
            add_products(simd, a, panel, &mut sums);
        }
        for r in 0..R {
            for n in 0..N {
                let at = (row + r) * self.places.row + n * self.places.block;
                let lanes = (self.columns - n * LANES).min(LANES);
                let place = &mut self.out[at..at + lanes];
                let mut sum = sums[r][n];
                if self.add {
                    sum = simd.add(sum, lanes_of(simd, place));
                }
                if let Some(finish) = self.finish {
                    let [low, high] = [simd.splat(finish.bounds[0]), simd.splat(finish.bounds[1])];
                    let bias = lanes_of(simd, &finish.bias[n * LANES..][..lanes]);
                    sum = simd.hold(simd.add(sum, bias), low, high);
                }
                put_lanes(simd, sum, place);
            }
        }
    }
}

/// The first sixteen values; zeros where there are less than that.
#[inline(always)]
pub(crate) fn lanes_of<S: Simd>(simd: S, values: &[f32]) -> S::V {
    if let Some(all) = values.first_chunk() {
        return simd.load(all);
    }
    let mut some = [0.0; LANES];
    some[..values.len()].copy_from_slice(values);
    simd.load(&some)
}

/// Writes sixteen values, or as many as the place has.
#[inline(always)]
pub(crate) fn put_lanes<S: Simd>(simd: S, it: S::V, place: &mut [f32]) {
    if let Some(place) = place.first_chunk_mut() {
        simd.store(it, place);
        return;
    }
    let mut values = [0.0; LANES];
    simd.store(it, &mut values);
    for (place, value) in place.iter_mut().zip(values) {
        *place = value;
    }
}

/// `out = a^T b`, or `out += a^T b` where `add`: of blocked rows `a` and `b`, `[columns / 16][rows][16]` each, to
/// `[columns of a / 16][columns of b / 16][16][16]`.
#[inline(always)]
pub(crate) fn outer<S: Simd>(
    simd: S,
    a: &[f32],
    b: &[f32],
    rows: usize,
    out: &mut [f32],
    add: bool,
) {
    let a = a.as_chunks::<LANES>().0;
    let b = b.as_chunks::<LANES>().0;
    let (out, _) = out.as_chunks_mut::<LANES>();
    let b_blocks = b.len() / rows;
    for (a, out) in a
        .chunks_exact(rows)
        .zip(out.chunks_exact_mut(b_blocks * LANES))
    {
        for (b, out) in b.chunks(2 * rows).zip(out.chunks_mut(2 * LANES)) {
            match (S::ROWS, b.len() == 2 * rows) {
                (8, true) => squares::<S, 8, 2>(simd, a, b, out, add),
                (8, false) => squares::<S, 16, 1>(simd, a, b, out, add),
                (_, true) => squares::<S, 2, 2>(simd, a, b, out, add),
                (_, false) => squares::<S, 4, 1>(simd, a, b, out, add),
            }
        }
    }
}

/// One block of `a` by `N` blocks of `b`, `R` columns of `a` at once.
#[inline(always)]
fn squares<S: Simd, const R: usize, const N: usize>(
    simd: S,
    a: &[[f32; LANES]],
    b: &[[f32; LANES]],
    out: &mut [[f32; LANES]],
    add: bool,
) {
    let rows = a.len();
    let mut blocks = [b; N];
    for (n, block) in blocks.iter_mut().enumerate() {
        *block = &b[n * rows..][..rows];
    }
    for first in (0..LANES).step_by(R) {
        let mut sums = [[simd.splat(0.0); N]; R];
        for row in 0..rows {
            let a: &[f32; R] = a[row][first..].first_chunk().expect("R divides 16");
            let mut lines = [simd.splat(0.0); N];
            for n in 0..N {
                lines[n] = simd.load(&blocks[n][row]);
            }
            for r in 0..R {
                let a = simd.splat(a[r]);
                for n in 0..N {
                    sums[r][n] = simd.fma(a, lines[n], sums[r][n]);
                }
            }
        }
        for r in 0..R {
            for n in 0..N {
                let sum = sums[r][n];
                let place = &mut out[n * LANES + first + r];
                let sum = if add {
                    simd.add(simd.load(place), sum)
                } else {
                    sum
                };
                simd.store(sum, place);
            }
        }
    }
}

/// Rows of blocks of sixteen, for [`outer`]: `[columns / 16][rows][16]` of rows that begin at `starts`. What fills no
/// block is filled with zeros.
#[inline(always)]
pub(crate) fn block_rows<S: Simd>(
    simd: S,
    values: &[f32],
    starts: &[usize],
    columns: usize,
    out: &mut [f32],
) {
    let (out, _) = out.as_chunks_mut::<LANES>();
    for (row, start) in starts.iter().enumerate() {
        for (block, values) in values[*start..][..columns].chunks(LANES).enumerate() {
            let place = &mut out[block * starts.len() + row];
            simd.store(lanes_of(simd, values), place);
        }
    }
}
