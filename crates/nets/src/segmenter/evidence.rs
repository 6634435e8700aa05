//! What the network said of a field, kept small, and the cells that come of it.

use super::watershed::{LEVELS, Parting, watershed};
use crate::detector::Region;

/// A cell of a [`Segmentation`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentedCell {
    /// From 0.
    pub class: usize,
    /// That its pixels are of a cell, the mean over them.
    pub probability: f32,
    /// In pixels.
    pub area: u32,
}

/// The cells of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    pub width: usize,
    pub height: usize,
    /// The cell of each pixel, row after row: 0 where there is none, else 1 + its place in `cells`.
    pub labels: Vec<u32>,
    pub cells: Vec<SegmentedCell>,
}

/// What was said so far. Of the background nothing is kept but that it is; of a cell's pixels what decides.
#[derive(Debug)]
pub(super) struct Evidence {
    width: usize,
    n_classes: usize,
    min_logit: f32,
    /// How deep in a cell each pixel lies, in levels; 0 is the background.
    levels: Vec<u16>,
    /// For each pixel of a cell, in the order of `parts` and their rows: its probability, and its class logits where
    /// there is more than one class.
    told: Vec<f32>,
    parts: Vec<Region>,
}

/// The answers of a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers<'a> {
    /// Of the background, of each class, and a depth, for each pixel.
    pub(super) values: &'a [f32],
    /// Of a row, which may be longer than the tile.
    pub(super) columns: usize,
    /// What the tile shows of the field.
    pub(super) shown: Region,
}

impl Evidence {
    /// `min_probability`: of a cell's pixel.
    pub(super) fn new(size: [usize; 2], n_classes: usize, min_probability: f32) -> Self {
        let [width, height] = size;
        Self {
            width,
            n_classes,
            min_logit: (min_probability / (1.0 - min_probability).max(1e-7)).ln(),
            levels: vec![0; width * height],
            told: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Takes in what a tile says of its own pixels.
    pub(super) fn add(&mut self, answers: &Answers<'_>, own: Region) {
        let n = self.n_classes;
        let Region { x, y, .. } = answers.shown;
        for row in own.y..own.y + own.height {
            for column in own.x..own.x + own.width {
                let place = [column - x, row - y];
                let answer = answers.at(place, n);
                let logit = log_sum(&answer[1..=n]) - answer[0];
                if logit < self.min_logit {
                    continue;
                }
                let depth = answers.smooth_depth(place, n).clamp(0.0, 1.0);
                let level = 1 + (depth * f32::from(LEVELS - 1)) as u16;
                self.levels[row * self.width + column] = level;
                self.told.push(1.0 / (1.0 + (-logit).exp()));
                if n > 1 {
                    self.told.extend_from_slice(&answer[1..=n]);
                }
            }
        }
        self.parts.push(own);
    }

    pub(super) fn cells(self, parting: Parting) -> Segmentation {
        let (labels, n_cells) = watershed(&self.levels, self.width, parting);
        let n_told = if self.n_classes > 1 {
            1 + self.n_classes
        } else {
            1
        };
        let mut sums = vec![0.0_f64; n_cells * n_told];
        let mut areas = vec![0_u32; n_cells];
        let mut told = self.told.chunks_exact(n_told);
        let rows = self
            .parts
            .iter()
            .flat_map(|it| (it.y..it.y + it.height).map(move |y| (it, y)));
        for (part, y) in rows {
            let from = y * self.width + part.x;
            let levels = &self.levels[from..from + part.width];
            for (at, _) in levels.iter().enumerate().filter(|it| *it.1 > 0) {
                let told = told.next().expect("every pixel of a cell was told of");
                let Some(cell) = (labels[from + at] as usize).checked_sub(1) else {
                    continue;
                };
                areas[cell] += 1;
                let sums = &mut sums[cell * n_told..][..n_told];
                for (sum, told) in sums.iter_mut().zip(told) {
                    *sum += f64::from(*told);
                }
            }
        }
        let cell = |(sums, area): (&[f64], u32)| SegmentedCell {
            class: largest(&sums[1..]),
            probability: (sums[0] / f64::from(area)) as f32,
            area,
        };
        Segmentation {
            width: self.width,
            height: labels.len() / self.width.max(1),
            cells: sums.chunks_exact(n_told).zip(areas).map(cell).collect(),
            labels,
        }
    }
}

impl Answers<'_> {
    fn at(&self, [x, y]: [usize; 2], n_classes: usize) -> &[f32] {
        let n = n_classes + 2;
        &self.values[(y * self.columns + x) * n..][..n]
    }

    /// The mean around a pixel, weighted 1 2 1 both ways; the tile's edge is repeated.
    fn smooth_depth(&self, [x, y]: [usize; 2], n_classes: usize) -> f32 {
        let around =
            |it: usize, length: usize| [it.saturating_sub(1), it, (it + 1).min(length - 1)];
        let columns = around(x, self.shown.width);
        let weighted = |[before, it, after]: [f32; 3]| (before + 2.0 * it + after) / 4.0;
        let depth = |x: usize, y: usize| self.at([x, y], n_classes)[n_classes + 1];
        let rows = around(y, self.shown.height);
        weighted(rows.map(|y| weighted(columns.map(|x| depth(x, y)))))
    }
}

/// The logarithm of the sum of exponentials.
fn log_sum(logits: &[f32]) -> f32 {
    if let [logit] = logits {
        return *logit;
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|it| (it - largest).exp()).sum();
    largest + sum.ln()
}

/// Of several the first; 0 of none.
fn largest(sums: &[f64]) -> usize {
    let better = |best: usize, at: usize| if sums[at] > sums[best] { at } else { best };
    (0..sums.len()).reduce(better).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_class_that_most_of_it_says_wherever_tiles_part_it() {
        // One cell of 6 x 4 pixels in a field of 8 x 6; its upper row says the first class, all others the second.
        let (width, height) = (8, 6);
        let mut values = Vec::new();
        for at in 0..width * height {
            let (x, y) = (at % width, at / width);
            let is_cell = (1..7).contains(&x) && (1..5).contains(&y);
            let said = match (is_cell, y) {
                (false, _) => [4.0, 0.0, 0.0, 0.0],
                (true, 1) => [-4.0, 2.0, 0.0, 0.4],
                (true, _) => [-4.0, 0.0, 1.0, 0.8],
            };
            values.extend(said);
        }
        let whole = Region {
            x: 0,
            y: 0,
            width,
            height,
        };
        let answers = Answers {
            values: &values,
            columns: width,
            shown: whole,
        };
        let parting = Parting {
            depth: 100,
            min_area: 4,
        };
        let segmented = |parts: &[Region]| {
            let mut it = Evidence::new([width, height], 2, 0.5);
            for own in parts {
                it.add(&answers, *own);
            }
            it.cells(parting)
        };
        let it = segmented(&[whole]);
        assert_eq!(it.cells.len(), 1);
        assert_eq!((it.cells[0].class, it.cells[0].area), (1, 24));
        assert!(it.cells[0].probability > 0.9);
        assert_eq!((it.width, it.height), (width, height));
        let left = Region { width: 3, ..whole };
        let right = Region {
            x: 3,
            width: 5,
            ..whole
        };
        assert_eq!(segmented(&[right, left]).labels, it.labels);
        assert_eq!(segmented(&[left, right]).cells[0].class, 1);
    }
}
