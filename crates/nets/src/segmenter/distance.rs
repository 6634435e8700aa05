//! How deep in its cell every pixel lies.
//!
//! Exact Euclidean distances in linear time: along columns by two sweeps, along rows by the lower envelope of parabolas
//! (Felzenszwalb and Huttenlocher 2012, <https://doi.org/10.4086/toc.2012.v008a019>).

use std::collections::BTreeMap;

/// What the middle of a cell has.
pub(super) const MIDDLE: u8 = 255;

/// For each pixel its distance to the border of its cell, divided by the largest such distance of the cell; 0 outside,
/// [`MIDDLE`] at the deepest pixel. The picture's border is no border: what it cuts goes on beyond.
pub(super) fn depths(ids: &[u16], width: usize) -> Vec<u8> {
    let mut depths = vec![0; ids.len()];
    let mut room = Room::default();
    for (id, it) in boxes(ids, width) {
        room.measure(ids, width, id, &it);
        let (columns, rows) = (it.x2 - it.x1, it.y2 - it.y1);
        // From the outermost pixel's centre to the border is half a pixel.
        let depth = |squared: f64| squared.sqrt() - 0.5;
        let deepest = room.squared.iter().copied().fold(0.0, f64::max);
        for row in 0..rows {
            let at = (it.y1 + row) * width + it.x1;
            let squared = &room.squared[row * columns..][..columns];
            for (out, squared) in depths[at..at + columns].iter_mut().zip(squared) {
                if *squared > 0.0 {
                    let part = depth(*squared) / depth(deepest);
                    *out = (part * f64::from(MIDDLE)).round().max(1.0) as u8;
                }
            }
        }
    }
    depths
}

/// The pixels of a cell and those around them, right and bottom exclusive.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    x1: usize,
    y1: usize,
    x2: usize,
    y2: usize,
}

fn boxes(ids: &[u16], width: usize) -> BTreeMap<u16, Bounds> {
    let mut boxes = BTreeMap::new();
    let height = ids.len() / width;
    for (at, id) in ids.iter().enumerate().filter(|it| *it.1 != 0) {
        let (x, y) = (at % width, at / width);
        let around = Bounds {
            x1: x.saturating_sub(1),
            y1: y.saturating_sub(1),
            x2: (x + 2).min(width),
            y2: (y + 2).min(height),
        };
        let it: &mut Bounds = boxes.entry(*id).or_insert(around);
        it.x1 = it.x1.min(around.x1);
        it.x2 = it.x2.max(around.x2);
        it.y2 = it.y2.max(around.y2);
    }
    boxes
}

/// Far beyond any picture, and squares of it are still exact.
const FAR: f64 = 1e7;

/// What is computed for one cell after the other.
#[derive(Debug, Default)]
struct Room {
    /// Squares of distances to the nearest pixel that is not of the cell.
    squared: Vec<f64>,
    line: Vec<f64>,
    /// Columns whose parabolas are lowest somewhere, and from where on.
    lowest: Vec<(usize, f64)>,
}

impl Room {
    fn measure(&mut self, ids: &[u16], width: usize, id: u16, it: &Bounds) {
        let (columns, rows) = (it.x2 - it.x1, it.y2 - it.y1);
        self.squared.clear();
        self.squared.resize(columns * rows, 0.0);
        for column in 0..columns {
            let mut run = FAR;
            for row in 0..rows {
                let is_inside = ids[(it.y1 + row) * width + it.x1 + column] == id;
                run = if is_inside { run + 1.0 } else { 0.0 };
                self.squared[row * columns + column] = run.min(FAR);
            }
            run = FAR;
            for row in (0..rows).rev() {
                let value = &mut self.squared[row * columns + column];
                run = (run + 1.0).min(*value);
                *value = run * run;
            }
        }
        for row in 0..rows {
            self.line.clear();
            let line = &mut self.squared[row * columns..][..columns];
            self.line.extend_from_slice(line);
            envelope(&self.line, &mut self.lowest, line);
        }
    }
}

/// The least of `(x - at)^2 + heights[at]` over all `at`, for each `x`.
fn envelope(heights: &[f64], lowest: &mut Vec<(usize, f64)>, out: &mut [f64]) {
    lowest.clear();
    for (at, height) in heights.iter().enumerate() {
        let mut from = f64::NEG_INFINITY;
        while let Some((other, since)) = lowest.last().copied() {
            let (a, b) = (at as f64, other as f64);
            from = (height + a * a - heights[other] - b * b) / (2.0 * (a - b));
            if from > since {
                break;
            }
            lowest.pop();
            from = f64::NEG_INFINITY;
        }
        lowest.push((at, from));
    }
    let mut which = 0;
    for (x, out) in out.iter_mut().enumerate() {
        while lowest.get(which + 1).is_some_and(|it| it.1 < x as f64) {
            which += 1;
        }
        let at = lowest[which].0;
        *out = (x as f64 - at as f64).powi(2) + heights[at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    #[test]
    fn distances_are_those_to_the_nearest_pixel_of_another_kind() {
        let (width, height) = (23, 17);
        for seed in 0..20 {
            let mut rng = Rng::new(seed, Purpose::Synthetic, [0, 0]);
            let mut ids = vec![0_u16; width * height];
            for id in 1..6 {
                let [x, y] = [rng.below(width - 2), rng.below(height - 2)];
                let [w, h] = [1 + rng.below(width - x), 1 + rng.below(height - y)];
                for row in y..y + h {
                    ids[row * width + x..][..w].fill(id);
                }
            }
            let depths = depths(&ids, width);
            let place = |at: usize| [(at % width) as f64, (at / width) as f64];
            let nearest = |at: usize| {
                let others = (0..ids.len()).filter(|it| ids[*it] != ids[at]);
                let away = others.map(|it| {
                    let ([x, y], [u, v]) = (place(at), place(it));
                    (x - u).hypot(y - v) - 0.5
                });
                away.fold(f64::INFINITY, f64::min)
            };
            for id in 1..6 {
                let of_cell: Vec<usize> = (0..ids.len()).filter(|it| ids[*it] == id).collect();
                let deepest = of_cell.iter().map(|it| nearest(*it)).fold(0.0, f64::max);
                for at in of_cell {
                    let expected = nearest(at) / deepest * 255.0;
                    assert!((f64::from(depths[at]) - expected).abs() <= 0.51, "{at}");
                }
            }
        }
    }

    #[test]
    fn a_cell_that_fills_the_picture_is_its_middle_everywhere() {
        assert_eq!(depths(&[3; 12], 4), [MIDDLE; 12]);
        assert_eq!(depths(&[0; 12], 4), [0; 12]);
    }
}
