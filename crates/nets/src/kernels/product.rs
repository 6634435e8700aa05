//! Matrix products of small tiles, whose operands lie as the registers want them.
//!
//! Rows lie in *blocks* of sixteen columns: `[columns / 16][rows][16]`. So a tile of rows reads whole cache lines one
//! after the other, and the end of a row that fills no block is filled with zeros. The right side of a product is cut
//! into *panels* of 32 columns: `[depth][32]`.

#![expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]

use super::{LANES, Simd};

/// Columns of a panel: two registers of sixteen.
pub(crate) const PANEL: usize = 2 * LANES;

/// Blocks of the depth whose part of a panel stays in the first-level cache: 16 rows of 32 columns each, 2 KiB.
const BLOCKS: usize = 16;

/// Where results go: the value (row, column) lies at `row * self.row + column / 16 * self.block + column % 16`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub row: usize,
    pub block: usize,
}

/// `out = a * panel`, or `out += a * panel` where `add`: `rows` rows of blocked `a`, whose blocks begin `stride` rows
/// apart, and the first `columns` of the panel.
#[expect(clippy::too_many_arguments, reason = "it is the innermost call")]
#[inline(always)]
pub(crate) fn rows_by_panel<S: Simd>(
    simd: S,
    a: &[f32],
    stride: usize,
    rows: usize,
    panel: &[f32],
    columns: usize,
    out: &mut [f32],
    places: Places,
    add: bool,
) {
    let a = a.as_chunks::<LANES>().0;
    let panel = panel.as_chunks::<LANES>().0.as_chunks::<2>().0;
    let parts = a.chunks(BLOCKS * stride).zip(panel.chunks(BLOCKS * LANES));
    for (at, (a, panel)) in parts.enumerate() {
        let add = add || at > 0;
        let mut go = Rows {
            simd,
            a,
            stride,
            panel,
            columns,
            out,
            places,
            add,
        };
        match S::ROWS {
            12 => go.all::<12, 4>(rows),
            3 => go.all::<3, 1>(rows),
            _ => go.all::<1, 1>(rows),
        }
    }
}

struct Rows<'a, S> {
    simd: S,
    a: &'a [[f32; LANES]],
    stride: usize,
    panel: &'a [[[f32; LANES]; 2]],
    columns: usize,
    out: &'a mut [f32],
    places: Places,
    add: bool,
}

impl<S: Simd> Rows<'_, S> {
    /// In tiles of `MANY` rows, then of `FEW`, then one by one.
    #[inline(always)]
    fn all<const MANY: usize, const FEW: usize>(&mut self, rows: usize) {
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
        let simd = self.simd;
        let mut sums = [[simd.splat(0.0); N]; R];
        let panel = self.panel.as_chunks::<LANES>().0;
        for (a, panel) in self.a.chunks(self.stride).zip(panel) {
            let a = a[row..].first_chunk::<R>().expect("the rows are there");
            for depth in 0..LANES {
                let mut b = [simd.splat(0.0); N];
                for n in 0..N {
                    b[n] = simd.load(&panel[depth][n]);
                }
                for r in 0..R {
                    let a = simd.splat(a[r][depth]);
                    for n in 0..N {
                        sums[r][n] = simd.fma(a, b[n], sums[r][n]);
                    }
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                let at = (row + r) * self.places.row + n * self.places.block;
                let lanes = (self.columns - n * LANES).min(LANES);
                put(simd, sum, &mut self.out[at..at + lanes], self.add);
            }
        }
    }
}

/// Writes the sum, or adds it. The place may have fewer lanes.
#[inline(always)]
fn put<S: Simd>(simd: S, sum: S::V, place: &mut [f32], add: bool) {
    if let Some(place) = place.first_chunk_mut::<LANES>() {
        let sum = if add {
            simd.add(simd.load(place), sum)
        } else {
            sum
        };
        simd.store(sum, place);
        return;
    }
    let mut sums = [0.0; LANES];
    simd.store(sum, &mut sums);
    for (place, sum) in place.iter_mut().zip(sums) {
        *place = if add { *place + sum } else { sum };
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
                (12, true) => squares::<S, 8, 2>(simd, a, b, out, add),
                (12, false) => squares::<S, 16, 1>(simd, a, b, out, add),
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
        for (r, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                put(simd, sum, &mut out[n * LANES + first + r], add);
            }
        }
    }
}
