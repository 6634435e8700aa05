//! Which boxes of an image touch which, and by how much.

use super::scene::{Found, Truth};

/// Intersection over union of two boxes, 0 where they do not touch.
///
/// ```
/// use cellmill_core::detection::iou;
/// assert_eq!(iou(&[0.0, 0.0, 2.0, 1.0], &[1.0, 0.0, 3.0, 1.0]), 1.0 / 3.0);
/// ```
pub fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let shared = shared_area(a, b);
    if shared > 0.0 {
        shared / (area(a) + area(b) - shared)
    } else {
        0.0
    }
}

fn area(it: &[f64; 4]) -> f64 {
    (it[2] - it[0]) * (it[3] - it[1])
}

fn shared_area(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    if width > 0.0 && height > 0.0 {
        width * height
    } else {
        0.0
    }
}

/// How a found cell lies on a true one: over a crowd it is the part of the found cell that counts.
fn overlap(truth: &Truth, found: &Found) -> f64 {
    if truth.crowd {
        let shared = shared_area(&truth.bbox, &found.bbox);
        if shared > 0.0 {
            shared / area(&found.bbox)
        } else {
            0.0
        }
    } else {
        iou(&truth.bbox, &found.bbox)
    }
}

/// A true cell that a found one touches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) truth: usize,
    pub(super) overlap: f64,
}

/// The candidates of each found cell, ascending by truth.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlaps {
    candidates: Vec<Candidate>,
    /// Where the candidates of each found cell end.
    ends: Vec<usize>,
}

impl Overlaps {
    pub(super) fn of(&self, found: usize) -> &[Candidate] {
        let start = found.checked_sub(1).map_or(0, |it| self.ends[it]);
        &self.candidates[start..self.ends[found]]
    }

    /// Adds the candidates of the next found cell.
    pub(super) fn push(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        let start = self.candidates.len();
        self.candidates.extend(candidates);
        self.candidates[start..].sort_unstable_by_key(|it| it.truth);
        self.ends.push(self.candidates.len());
    }

    /// Looks only at neighbours, so that thousands of boxes of an image are no matter.
    pub(super) fn of_boxes(truths: &[Truth], founds: &[Found]) -> Self {
        let mut by_left: Vec<usize> = (0..truths.len()).collect();
        by_left.sort_unstable_by(|&a, &b| truths[a].bbox[0].total_cmp(&truths[b].bbox[0]));
        let widths = truths.iter().map(|it| it.bbox[2] - it.bbox[0]);
        let widest = widths.fold(0.0, f64::max);

        let mut overlaps = Self::default();
        for found in founds {
            let [left, _, right, _] = found.bbox;
            let from = by_left.partition_point(|&it| truths[it].bbox[0] < left - widest);
            let near = by_left[from..]
                .iter()
                .take_while(|&&it| truths[it].bbox[0] < right);
            let touching = near.map(|&truth| Candidate {
                truth,
                overlap: overlap(&truths[truth], found),
            });
            overlaps.push(touching.filter(|it| it.overlap > 0.0));
        }
        overlaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_box_in_a_crowd_is_measured_by_itself() {
        let crowd = Truth {
            class: 1,
            bbox: [0.0, 0.0, 100.0, 100.0],
            crowd: true,
        };
        let found = Found {
            class: 1,
            bbox: [90.0, 0.0, 110.0, 10.0],
            score: 1.0,
        };
        assert!((overlap(&crowd, &found) - 0.5).abs() < 1e-12);
        let cell = Truth {
            crowd: false,
            ..crowd
        };
        assert!((overlap(&cell, &found) - 100.0 / 10_100.0).abs() < 1e-12);
    }

    #[test]
    fn boxes_without_area_overlap_nothing() {
        let whole = [0.0, 0.0, 10.0, 10.0];
        for odd in [
            [5.0, 5.0, 5.0, 9.0],
            [8.0, 8.0, 2.0, 2.0],
            [10.0, 0.0, 20.0, 10.0],
        ] {
            assert!(iou(&whole, &odd).abs() < 1e-12, "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn no_touching_pair_is_overlooked(
            truths in prop::collection::vec(any_box(), 0..30),
            founds in prop::collection::vec(any_box(), 0..30),
        ) {
            let truths: Vec<_> = truths.into_iter().map(|bbox| Truth { class: 0, bbox, crowd: false }).collect();
            let founds: Vec<_> = founds.into_iter().map(|bbox| Found { class: 0, bbox, score: 0.0 }).collect();
            let overlaps = Overlaps::of_boxes(&truths, &founds);
            for (at, found) in founds.iter().enumerate() {
                let all = (0..truths.len()).map(|truth| Candidate { truth, overlap: overlap(&truths[truth], found) });
                let touching: Vec<_> = all.filter(|it| it.overlap > 0.0).collect();
                prop_assert_eq!(overlaps.of(at), &touching[..]);
            }
        }
    }

    fn any_box() -> impl Strategy<Value = [f64; 4]> {
        (0u32..400, 0u32..400, 1u32..160, 1u32..160)
            .prop_map(|(x, y, w, h)| [x, y, x + w, y + h].map(|it| f64::from(it) / 4.0))
    }
}
