//! Where the centres of round things are: every edge votes along its gradient, which
//! points into a stained cell (after Kimme, Ballard and Sklansky 1975). Overlapping cells
//! keep their own centres, which no mask of them shows.

use super::canny::Edges;
use super::plane::Plane;

/// The smallest radius that is tried, in working pixels.
const MIN_RADIUS: f64 = 6.0;
/// A field shows several cells, so the typical one is no wider than a third of it.
const MAX_RADIUS_SHARE: f64 = 1.0 / 6.0;
const RADIUS_STEP: f64 = 1.15;
/// A centre must have votes from this share of a whole circle to count for the typical radius.
const MIN_COVERAGE: f64 = 0.25;
/// How much of the votes that fall anywhere by chance is taken off: all of them would
/// count against a crowd of cells.
const CHANCE: f64 = 0.5;

/// Radii of cells around the typical one.
const SMALLEST: f64 = 0.6;
const LARGEST: f64 = 1.5;

/// A pixel on an edge and the unit vector into the cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct EdgePoint {
    x: f64,
    y: f64,
    ux: f64,
    uy: f64,
}

pub(super) fn edge_points(plane: &Plane, edges: &Edges) -> Vec<EdgePoint> {
    let on_edge = edges.mask.iter().enumerate().filter(|(_, it)| **it != 0);
    on_edge
        .map(|(at, _)| {
            let (dx, dy) = (f64::from(edges.dx[at]), f64::from(edges.dy[at]));
            let length = (dx * dx + dy * dy).sqrt();
            EdgePoint {
                x: (at % plane.width) as f64,
                y: (at / plane.width) as f64,
                ux: dx / length,
                uy: dy / length,
            }
        })
        .collect()
}

/// Votes in square bins.
struct Bins {
    side: f64,
    width: usize,
    height: usize,
    votes: Vec<u32>,
}

impl Bins {
    fn new(plane: &Plane, side: f64) -> Self {
        let width = (plane.width as f64 / side) as usize + 1;
        let height = (plane.height as f64 / side) as usize + 1;
        Self {
            side,
            width,
            height,
            votes: vec![0; width * height],
        }
    }

    /// Votes at `radius` from every edge.
    fn cast(&mut self, points: &[EdgePoint], radius: f64, weight: u32) {
        let (width, height) = (self.width, self.height);
        let scale = 1.0 / self.side;
        for point in points {
            let x = (point.x + point.ux * radius) * scale;
            let y = (point.y + point.uy * radius) * scale;
            // Casting rounds down what is not negative.
            if x >= 0.0 && y >= 0.0 && (x as usize) < width && (y as usize) < height {
                self.votes[y as usize * width + x as usize] += weight;
            }
        }
    }

    /// Sums over `2 * reach + 1` bins in both directions.
    fn smooth(&mut self, reach: usize) {
        let width = self.width;
        let mut line = Vec::new();
        for row in self.votes.chunks_exact_mut(width) {
            slide(row, reach, &mut line);
        }
        let rows = self.votes.clone();
        let row = |y: usize| rows.get(y * width..(y + 1) * width).unwrap_or_default();
        let mut sums = vec![0; width];
        for y in 0..reach {
            add(&mut sums, row(y));
        }
        for (y, out) in self.votes.chunks_exact_mut(width).enumerate() {
            add(&mut sums, row(y + reach));
            if y > reach {
                for (sum, gone) in sums.iter_mut().zip(row(y - reach - 1)) {
                    *sum -= gone;
                }
            }
            out.copy_from_slice(&sums);
        }
    }

    /// Bins that no other within `reach` beats; the first of equal ones in reading order.
    fn peaks(&self, reach: usize, least: u32) -> Vec<(usize, usize, u32)> {
        let mut found = Vec::new();
        for (at, &votes) in self.votes.iter().enumerate() {
            if votes < least.max(1) {
                continue;
            }
            let (x, y) = (at % self.width, at / self.width);
            let columns = x.saturating_sub(reach)..(x + reach + 1).min(self.width);
            let is_peak = (y.saturating_sub(reach)..(y + reach + 1).min(self.height)).all(|row| {
                let others = &self.votes[row * self.width..][columns.clone()];
                (columns.start..).zip(others).all(|(column, &other)| {
                    other < votes || (other == votes && (row, column) >= (y, x))
                })
            });
            if is_peak {
                found.push((x, y, votes));
            }
        }
        found
    }
}

/// A running sum over a row.
fn slide(values: &mut [u32], reach: usize, line: &mut Vec<u32>) {
    line.clear();
    line.extend_from_slice(values);
    let mut sum: u32 = line.iter().take(reach).sum();
    for (idx, value) in values.iter_mut().enumerate() {
        sum += line.get(idx + reach).copied().unwrap_or(0);
        if idx > reach {
            sum -= line[idx - reach - 1];
        }
        *value = sum;
    }
}

fn add(sums: &mut [u32], row: &[u32]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += value;
    }
}

/// The radius whose circles the edges fill best; `None` where nothing is round.
pub(super) fn typical_radius(plane: &Plane, points: &[EdgePoint]) -> Option<f64> {
    let largest = plane.width.min(plane.height) as f64 * MAX_RADIUS_SHARE;
    let mut best: Option<(f64, f64)> = None;
    let mut radius = MIN_RADIUS;
    while radius <= largest.max(MIN_RADIUS) {
        let weight = roundness_at(plane, points, radius);
        if weight > best.map_or(0.0, |it| it.0) {
            best = Some((weight, radius));
        }
        radius *= RADIUS_STEP;
    }
    best.map(|it| it.1)
}

/// The area of all circles of this radius, each by the square of its coverage.
fn roundness_at(plane: &Plane, points: &[EdgePoint], radius: f64) -> f64 {
    // Three bins a side catch the votes of a circle that is oval by a seventh.
    let mut bins = Bins::new(plane, (radius * 0.1).max(1.0));
    bins.cast(points, radius, 1);
    bins.smooth(1);
    let circle = std::f64::consts::TAU * radius;
    // What edges that point nowhere would give a place by chance.
    let places = (plane.width * plane.height) as f64 / (9.0 * bins.side * bins.side);
    let chance = CHANCE * points.len() as f64 / places.max(1.0);
    let reach = (radius / 2.0 / bins.side).ceil() as usize;
    let peaks = bins.peaks(reach, (circle * MIN_COVERAGE + chance) as u32);
    peaks
        .iter()
        .map(|(_, _, votes)| ((f64::from(*votes) - chance) / circle * radius).powi(2))
        .sum()
}

/// The centres of round things of about this radius, in working pixels.
pub(super) fn centers(plane: &Plane, points: &[EdgePoint], typical: f64) -> Vec<(f64, f64)> {
    const STEP: f64 = 0.06;
    /// Weights are whole numbers, so that the order of additions cannot matter.
    const UNIT: f64 = 256.0;
    let mut bins = Bins::new(plane, (typical * STEP).max(1.0));
    let n_steps = ((LARGEST - SMALLEST) / STEP) as u32;
    for step in 0..=n_steps {
        let relative = SMALLEST + STEP * f64::from(step);
        // A larger circle has more edge to vote with.
        bins.cast(points, typical * relative, (UNIT / relative) as u32);
    }
    bins.smooth(2);
    bins.smooth(2);
    let highest = bins.votes.iter().copied().max().unwrap_or(0);
    let reach = (typical / 4.0 / bins.side).ceil() as usize;
    let middle = |bin: usize| (bin as f64 + 0.5) * bins.side;
    bins.peaks(reach, highest / 20)
        .into_iter()
        .map(|(x, y, _)| (middle(x), middle(y)))
        .collect()
}
