//! A kernel that slides over pictures, as a product whose left rows are read where the pictures hold them: nothing is
//! gathered but a border of zeros, where there is one.

use super::product::{Finish, Left, PANEL, Places, block_rows, outer, rows_by_panel};
use super::scratch::with_scratch;
use super::{LANES, add_chunks, cut, kernel};
use rayon::prelude::*;
use std::ops::Range;

/// `n` images of `h` x `w` pixels and `c` channels, seen through windows of `kernel` lines and columns. The first
/// window begins `before` lines and columns before the picture, or behind its first ones where that is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slide {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub before: [isize; 2],
    pub out: [usize; 2],
}

impl Slide {
    /// Values that a window sees.
    pub(crate) const fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.c
    }

    /// Output pixels of all images.
    pub(crate) const fn rows(&self) -> usize {
        self.n * self.out[0] * self.out[1]
    }

    /// Output lines of all images.
    const fn lines(&self) -> usize {
        self.n * self.out[0]
    }

    /// Whether no window reaches over an edge.
    fn is_inside(&self) -> bool {
        let inside = |at: usize, side: usize| {
            let last = (self.out[at] - 1) * self.stride + self.kernel[at];
            self.before[at] <= 0 && last as isize - self.before[at] <= side as isize
        };
        inside(0, self.h) && inside(1, self.w)
    }

    /// The same where every pixel is an image of its own, if that is what it computes: lines of one pixel can be cut
    /// anywhere.
    fn in_pixels(self) -> Self {
        let is_pointwise = self.kernel == [1, 1] && self.stride == 1 && self.before == [0, 0];
        if !is_pointwise || self.out != [self.h, self.w] {
            return self;
        }
        Self {
            n: self.rows(),
            h: 1,
            w: 1,
            out: [1, 1],
            ..self
        }
    }

    /// Lines of a task of about so many rows.
    fn lines_of(&self, rows: usize) -> usize {
        (rows / self.out[1]).clamp(1, self.lines().max(1))
    }

    /// Calls `body` with what the windows of some output lines see.
    fn with_left<R>(&self, x: &[f32], lines: Range<usize>, body: impl FnOnce(Left<'_>) -> R) -> R {
        let [out_h, out_w] = self.out;
        let mut starts = Vec::with_capacity(lines.len() * out_w);
        if self.is_inside() {
            for line in lines {
                let y = ((line % out_h * self.stride) as isize - self.before[0]) as usize;
                let first = (line / out_h * self.h + y) * self.w;
                starts.extend((0..out_w).map(|at| {
                    let x = ((at * self.stride) as isize - self.before[1]) as usize;
                    (first + x) * self.c
                }));
            }
            return body(self.left(x, &starts, self.w));
        }
        // A canvas: the lines that the windows of one image see after those of the image before.
        let width = (out_w - 1) * self.stride + self.kernel[1];
        let mut seen = Vec::new();
        for image in lines.start / out_h..lines.end.div_ceil(out_h) {
            let first = lines.start.max(image * out_h) - image * out_h;
            let last = lines.end.min((image + 1) * out_h) - image * out_h;
            for line in 0..last - first {
                let at = (seen.len() + line * self.stride) * width;
                starts.extend((0..out_w).map(|it| (at + it * self.stride) * self.c));
            }
            let begin = (first * self.stride) as isize - self.before[0];
            let n_lines = (last - first - 1) * self.stride + self.kernel[0];
            seen.extend((begin..begin + n_lines as isize).map(|y| (image, y)));
        }
        with_scratch(seen.len() * width * self.c, |canvas| {
            for (canvas, (image, y)) in canvas.chunks_exact_mut(width * self.c).zip(&seen) {
                self.copy_line(x, *image, *y, canvas);
            }
            body(self.left(canvas, &starts, width))
        })
    }

    fn left<'a>(&self, values: &'a [f32], starts: &'a [usize], width: usize) -> Left<'a> {
        Left {
            values,
            starts,
            runs: self.kernel[0],
            distance: width * self.c,
            len: self.kernel[1] * self.c,
        }
    }

    /// One line of an image as windows see it; zeros outside of the picture.
    fn copy_line(&self, x: &[f32], image: usize, y: isize, canvas: &mut [f32]) {
        let Some(y) = usize::try_from(y).ok().filter(|it| *it < self.h) else {
            canvas.fill(0.0);
            return;
        };
        let line = &x[(image * self.h + y) * self.w * self.c..][..self.w * self.c];
        let skipped = usize::try_from(-self.before[1]).unwrap_or(0) * self.c;
        let zeros = usize::try_from(self.before[1]).unwrap_or(0) * self.c;
        let (zeros, rest) = canvas.split_at_mut(zeros.min(canvas.len()));
        zeros.fill(0.0);
        let line = &line[skipped.min(line.len())..];
        let (copy, zeros) = rest.split_at_mut(line.len().min(rest.len()));
        copy.copy_from_slice(&line[..copy.len()]);
        zeros.fill(0.0);
    }
}

/// Rows of one task of a product: what they see should stay in the second-level cache.
fn rows_of_task(depth: usize) -> usize {
    ((1 << 17) / depth).clamp(96, 480)
}

/// Fewer rows than this are not cut; the columns are.
const FEW_ROWS: usize = 480;

/// `y = windows * weights`, then what is done to `finish`, of `o` columns; `panels` as `product::pack` makes them.
pub(crate) fn multiply(
    it: &Slide,
    x: &[f32],
    panels: &[f32],
    o: usize,
    finish: Option<Finish<'_>>,
    y: &mut [f32],
) {
    let it = it.in_pixels();
    if it.rows() < FEW_ROWS {
        multiply_few(&it, x, panels, o, finish, y);
        return;
    }
    let lines = it.lines_of(rows_of_task(it.depth()));
    y.par_chunks_mut(lines * it.out[1] * o)
        .enumerate()
        .for_each(|(task, y)| {
            let first = task * lines;
            it.with_left(x, first..(first + lines).min(it.lines()), |left| {
                multiply_band(left, panels, o, finish, y);
            });
        });
}

/// A task is a panel. Its results lie beside each other until all are there.
fn multiply_few(
    it: &Slide,
    x: &[f32],
    panels: &[f32],
    o: usize,
    finish: Option<Finish<'_>>,
    y: &mut [f32],
) {
    let (rows, depth) = (it.rows(), it.depth());
    it.with_left(x, 0..it.lines(), |left| {
        with_scratch(o.div_ceil(PANEL) * rows * PANEL, |results| {
            results
                .par_chunks_exact_mut(rows * PANEL)
                .zip(panels.par_chunks_exact(depth * PANEL))
                .enumerate()
                .for_each(|(at, (out, panel))| {
                    let columns = (o - at * PANEL).min(PANEL);
                    let finish = finish.map(|it| it.from(at * PANEL));
                    multiply_panel(left, panel, columns, finish, out);
                });
            for (at, results) in results.chunks_exact(rows * PANEL).enumerate() {
                let columns = (o - at * PANEL).min(PANEL);
                let rows = y.chunks_exact_mut(o).zip(results.chunks_exact(PANEL));
                for (y, result) in rows {
                    y[at * PANEL..][..columns].copy_from_slice(&result[..columns]);
                }
            }
        });
    });
}

impl Finish<'_> {
    /// For the columns from `first` on.
    fn from(&self, first: usize) -> Self {
        Self {
            bias: &self.bias[first..],
            ..*self
        }
    }
}

kernel! {
    fn multiply_panel<'a>[simd](left: Left<'a>, panel: &'a [f32], columns: usize, finish: Option<Finish<'a>>, out: &'a mut [f32]) {
        let places = Places { row: PANEL, block: LANES };
        rows_by_panel(simd, left, panel, columns, out, places, finish);
    }
}

kernel! {
    fn multiply_band<'a>[simd](left: Left<'a>, panels: &'a [f32], o: usize, finish: Option<Finish<'a>>, y: &'a mut [f32]) {
        let depth = left.runs * left.len;
        let places = Places { row: o, block: LANES };
        for (at, panel) in panels.chunks_exact(depth * PANEL).enumerate() {
            let first = at * PANEL;
            let finish = finish.map(|it| it.from(first));
            rows_by_panel(simd, left, panel, (o - first).min(PANEL), &mut y[first..], places, finish);
        }
    }
}

/// Rows that [`add_windows`] sums in registers: two blocks of sixteen columns and one stay in the first-level cache.
const OUTER_ROWS: usize = 192;

/// `dy^T * windows`: for each of `o` columns of `dy` the sum over all rows of what the windows see, times it. The
/// result is read by [`Sums::get`].
pub(crate) fn add_windows<R>(
    it: &Slide,
    x: &[f32],
    dy: &[f32],
    o: usize,
    body: impl FnOnce(Sums<'_>) -> R,
) -> R {
    let it = it.in_pixels();
    let (o_blocks, blocks) = (o.div_ceil(LANES), it.depth().div_ceil(LANES));
    let len = o_blocks * blocks * LANES * LANES;
    let lines = it.lines_of(OUTER_ROWS);
    // At most 16 MiB of partial sums, so that adding them stays cheap beside the products.
    let tasks = it.lines().div_ceil(lines);
    let parts = ((1 << 22) / len).min(tasks / 4).clamp(1, 16).min(tasks);
    with_scratch(parts * len, |sums| {
        sums.par_chunks_exact_mut(len)
            .zip(cut(it.lines(), parts).collect::<Vec<_>>())
            .for_each(|(sum, range)| {
                for first in range.clone().step_by(lines) {
                    let lines = first..(first + lines).min(range.end);
                    add_lines(&it, x, dy, o, lines, sum, first > range.start);
                }
            });
        add_chunks(sums, len);
        body(Sums {
            values: &sums[..len],
            blocks,
        })
    })
}

/// The gradient of weights, in blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums<'a> {
    values: &'a [f32],
    /// Blocks of sixteen of the depth.
    blocks: usize,
}

impl Sums<'_> {
    pub(crate) fn get(&self, output: usize, depth: usize) -> f32 {
        let block = output / LANES * self.blocks + depth / LANES;
        self.values[(block * LANES + output % LANES) * LANES + depth % LANES]
    }
}

fn add_lines(
    it: &Slide,
    x: &[f32],
    dy: &[f32],
    o: usize,
    lines: Range<usize>,
    sum: &mut [f32],
    is_begun: bool,
) {
    let rows = lines.len() * it.out[1];
    let dy = &dy[lines.start * it.out[1] * o..][..rows * o];
    let (of_dy, of_x) = (
        o.div_ceil(LANES) * LANES,
        it.depth().div_ceil(LANES) * LANES,
    );
    it.with_left(x, lines, |left| {
        with_scratch(rows * (of_dy + of_x), |blocks| {
            let (dy_blocks, x_blocks) = blocks.split_at_mut(rows * of_dy);
            let starts: Vec<usize> = (0..rows).map(|row| row * o).collect();
            block_gradients(dy, &starts, o, dy_blocks);
            block_windows(left, x_blocks);
            // Few parts leave threads idle, so blocks are tasks too.
            let x_blocks = &*x_blocks;
            sum.par_chunks_exact_mut(of_x * LANES)
                .zip(dy_blocks.par_chunks_exact(rows * LANES))
                .with_min_len(4)
                .for_each(|(sum, dy)| add_products(dy, x_blocks, rows, sum, is_begun));
        });
    });
}

kernel! {
    fn add_products<'a>[simd](dy: &'a [f32], x: &'a [f32], rows: usize, sum: &'a mut [f32], is_begun: bool) {
        outer(simd, dy, x, rows, sum, is_begun);
    }
}

kernel! {
    fn block_gradients<'a>[simd](dy: &'a [f32], starts: &'a [usize], o: usize, out: &'a mut [f32]) {
        block_rows(simd, dy, starts, o, out);
    }
}

kernel! {
    fn block_windows<'a>[simd](left: Left<'a>, out: &'a mut [f32]) {
        let rows = left.starts.len();
        if left.runs == 1 || left.len.is_multiple_of(LANES) {
            for run in 0..left.runs {
                let out = &mut out[run * left.len * rows..];
                let values = &left.values[run * left.distance..];
                block_rows(simd, values, left.starts, left.len, out);
            }
            return;
        }
        // Runs that fill no blocks are put together first.
        let depth = (left.runs * left.len).next_multiple_of(LANES);
        for (row, start) in left.starts.iter().enumerate() {
            for run in 0..left.runs {
                let values = &left.values[*start + run * left.distance..][..left.len];
                for (at, value) in values.iter().enumerate() {
                    let column = run * left.len + at;
                    out[(column / LANES * rows + row) * LANES + column % LANES] = *value;
                }
            }
            for column in left.runs * left.len..depth {
                out[(column / LANES * rows + row) * LANES + column % LANES] = 0.0;
            }
        }
    }
}
