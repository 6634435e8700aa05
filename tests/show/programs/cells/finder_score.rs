//! Boxes against boxes and points against boxes, by the plainest code there is.

use std::cmp::Ordering;

use cellmill_tests::show::data::{Row, Side4};

/// Boxes found, missed and wrong, over many images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) wanted: usize,
    pub(crate) found: usize,
    pub(crate) right: usize,
}

impl Score {
    /// Adds one image: each box is used once, the largest overlaps first, from a half on.
    pub(crate) fn add(&mut self, truth: &[Side4], found: &[Side4]) {
        let mut pairs = Vec::new();
        for (t, truth) in truth.iter().enumerate() {
            for (f, found) in found.iter().enumerate() {
                let iou = iou(truth, found);
                if iou >= 0.5 {
                    pairs.push((iou, t, f));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal));
        self.wanted += truth.len();
        self.found += found.len();
        self.right += once_each(pairs.into_iter().map(|(_, t, f)| (t, f))).len();
    }

    pub(crate) fn recall(&self) -> f64 {
        self.right as f64 / self.wanted as f64
    }

    pub(crate) fn precision(&self) -> f64 {
        self.right as f64 / self.found as f64
    }
}

/// What type 2 must give for one image: each detection near a doctor's point, with the doctor's class.
///
/// The nearest pairs first, one to one, nearer than `radius` pixels (FORMATS, decision 5). Ascending.
pub(crate) fn confirmed(rows: &[Row], found: &[Side4], radius: u32) -> Vec<(Side4, u32)> {
    let mut pairs = Vec::new();
    for (r, row) in rows.iter().enumerate().filter(|(_, it)| !it.is_repeat) {
        for (f, it) in found.iter().enumerate() {
            // Twice the distance, squared, is a whole number.
            let dx = i64::from(2 * row.x) - i64::from(it[0] + it[2]);
            let dy = i64::from(2 * row.y) - i64::from(it[1] + it[3]);
            let distance = dx * dx + dy * dy;
            if distance < 4 * i64::from(radius).pow(2) {
                pairs.push((distance, r, f));
            }
        }
    }
    pairs.sort_unstable();
    let pairs = once_each(pairs.into_iter().map(|(_, r, f)| (r, f)));
    let mut confirmed: Vec<_> = pairs
        .iter()
        .map(|&(r, f)| (found[f], rows[r].class))
        .collect();
    confirmed.sort_unstable();
    confirmed
}

/// The pairs whose two sides were not used by an earlier one.
fn once_each(pairs: impl Iterator<Item = (usize, usize)>) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (a, b) in pairs {
        if kept.iter().all(|it| it.0 != a && it.1 != b) {
            kept.push((a, b));
        }
    }
    kept
}

fn iou(a: &Side4, b: &Side4) -> f64 {
    let area = |it: &Side4| f64::from(it[2] - it[0]) * f64::from(it[3] - it[1]);
    let w = a[2].min(b[2]).saturating_sub(a[0].max(b[0]));
    let h = a[3].min(b[3]).saturating_sub(a[1].max(b[1]));
    let both = f64::from(w) * f64::from(h);
    both / (area(a) + area(b) - both)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(x: u32, y: u32, class: u32) -> Row {
        Row {
            x,
            y,
            class,
            bbox: None,
            is_repeat: false,
        }
    }

    #[test]
    fn a_box_counts_once() {
        let mut score = Score::default();
        score.add(&[[0, 0, 10, 10]], &[[0, 0, 10, 10], [0, 0, 10, 9]]);
        assert_eq!((score.wanted, score.found, score.right), (1, 2, 1));
    }

    #[test]
    fn the_nearest_pair_wins_and_the_radius_is_exclusive() {
        let found = [[0, 0, 10, 10], [100, 0, 110, 10]];
        let rows = [row(7, 5, 2), row(5, 5, 1), row(125, 5, 3)];
        assert_eq!(confirmed(&rows, &found, 20), [([0, 0, 10, 10], 1)]);
        assert_eq!(confirmed(&rows, &found, 21).len(), 2);
    }
}
