//! Which doctor's point belongs to which detection, and which boxes show the same cell (FORMATS A.9, decision 5).
//!
//! Distances are compared exactly: centres are doubled, so that halves are whole, and squared.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use crate::boxes::BBox;

/// How far a point may lie from a detection's centre, in pixels: nearer than this.
pub const DEFAULT_MATCH_RADIUS: u32 = 20;

/// Detections whose centres are this near show one cell.
pub const DEDUPE_DISTANCE: u32 = 10;

/// Indices of a point (or a true box) and of the detection that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub point: usize,
    pub found: usize,
}

/// Pairs points with detections by their centres, one to one, the closest pairs first.
///
/// A pair's distance is below `radius` pixels. Among equal distances the lower point, then the lower detection wins,
/// so the answer is the same on every machine. Pairs come ascending by point.
pub fn match_points(points: &[(u32, u32)], found: &[BBox], radius: u32) -> Vec<Pair> {
    let limit = squared(2 * u64::from(radius));
    let grid = Grid::new(
        found.iter().map(BBox::doubled_center),
        2 * u64::from(radius),
    );
    let mut candidates = Vec::new();
    for (point, &(x, y)) in points.iter().enumerate() {
        let center = (2 * u64::from(x), 2 * u64::from(y));
        let near = grid
            .near(center)
            .map(|(at, other)| (distance_squared(center, other), point, at));
        candidates.extend(near.filter(|(distance, ..)| *distance < limit));
    }
    candidates.sort_unstable();
    one_to_one(
        candidates
            .into_iter()
            .map(|(_, point, found)| Pair { point, found }),
        points.len(),
        found.len(),
    )
}

/// Pairs true boxes with detections by overlap, one to one, the largest intersection over union first.
///
/// A pair's overlap is at least `min_iou`, and more than none. Ties and order are as in [`match_points`].
pub fn match_boxes(truth: &[BBox], found: &[BBox], min_iou: f64) -> Vec<Pair> {
    let mut by_left: Vec<usize> = (0..found.len()).collect();
    by_left.sort_unstable_by_key(|&at| found[at].x1);
    let widest = found.iter().map(BBox::width).max().unwrap_or(0);

    let mut candidates = Vec::new();
    for (point, truth) in truth.iter().enumerate() {
        let from = by_left.partition_point(|&at| found[at].x1 < truth.x1.saturating_sub(widest));
        let touching = by_left[from..]
            .iter()
            .take_while(|&&at| found[at].x1 < truth.x2);
        for &at in touching {
            let Some(overlap) = Overlap::of(truth, &found[at]) else {
                continue;
            };
            if overlap.ratio() >= min_iou {
                candidates.push((Reverse(overlap), point, at));
            }
        }
    }
    candidates.sort_unstable();
    one_to_one(
        candidates
            .into_iter()
            .map(|(_, point, found)| Pair { point, found }),
        truth.len(),
        found.len(),
    )
}

/// How a set of detections compares with the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// True boxes that were found.
    pub tp: usize,
    /// Detections that are no true box.
    pub fp: usize,
    /// True boxes that were missed.
    pub fn_: usize,
}

impl Score {
    /// The part of the true boxes that was found; 1 when there are none.
    pub fn recall(&self) -> f64 {
        part(self.tp, self.tp + self.fn_)
    }

    /// The part of the detections that are true; 1 when there are none.
    pub fn precision(&self) -> f64 {
        part(self.tp, self.tp + self.fp)
    }

    /// The harmonic mean of precision and recall; 1 when there is nothing and nothing was found.
    pub fn f1(&self) -> f64 {
        part(2 * self.tp, 2 * self.tp + self.fp + self.fn_)
    }

    /// The part of all cells, true or found, that are both: what the nuclei challenge of 2018 averages over overlaps.
    pub fn critical_success(&self) -> f64 {
        part(self.tp, self.tp + self.fp + self.fn_)
    }
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.tp += other.tp;
        self.fp += other.fp;
        self.fn_ += other.fn_;
    }
}

fn part(n: usize, of: usize) -> f64 {
    if of == 0 { 1.0 } else { n as f64 / of as f64 }
}

/// Counts found, false and missed boxes by [`match_boxes`].
pub fn recall_precision(truth: &[BBox], found: &[BBox], iou: f64) -> Score {
    let tp = match_boxes(truth, found, iou).len();
    Score {
        tp,
        fp: found.len() - tp,
        fn_: truth.len() - tp,
    }
}

/// The detections to keep, ascending: in their order, each is dropped whose centre lies at most `distance` pixels
/// (cut to whole ones) from one that was kept.
pub fn dedupe(boxes: &[BBox], distance: u32) -> Vec<usize> {
    // floor(d) <= distance is d < distance + 1.
    let reach = 2 * (u64::from(distance) + 1);
    let limit = squared(reach);
    let mut kept = Grid::new([], reach);
    let mut indices = Vec::new();
    for (at, center) in boxes.iter().map(BBox::doubled_center).enumerate() {
        if kept
            .near(center)
            .all(|(_, other)| distance_squared(center, other) >= limit)
        {
            kept.insert(at, center);
            indices.push(at);
        }
    }
    indices
}

/// Takes each candidate whose two sides are still free.
fn one_to_one(
    candidates: impl Iterator<Item = Pair>,
    n_points: usize,
    n_found: usize,
) -> Vec<Pair> {
    let (mut point_taken, mut found_taken) = (vec![false; n_points], vec![false; n_found]);
    let mut pairs: Vec<Pair> = Vec::new();
    for pair in candidates {
        if !point_taken[pair.point] && !found_taken[pair.found] {
            point_taken[pair.point] = true;
            found_taken[pair.found] = true;
            pairs.push(pair);
        }
    }
    pairs.sort_unstable();
    pairs
}

type Center = (u64, u64);

fn squared(n: u64) -> u128 {
    u128::from(n) * u128::from(n)
}

fn distance_squared(a: Center, b: Center) -> u128 {
    squared(a.0.abs_diff(b.0)) + squared(a.1.abs_diff(b.1))
}

/// Centres in square buckets, so that only neighbours are compared.
struct Grid {
    side: u64,
    buckets: HashMap<Center, Vec<(usize, Center)>>,
}

impl Grid {
    /// `side`: nothing farther than this is asked for.
    fn new(centers: impl IntoIterator<Item = Center>, side: u64) -> Self {
        let mut grid = Self {
            side: side.max(1),
            buckets: HashMap::new(),
        };
        for (at, center) in centers.into_iter().enumerate() {
            grid.insert(at, center);
        }
        grid
    }

    fn insert(&mut self, at: usize, center: Center) {
        let bucket = (center.0 / self.side, center.1 / self.side);
        self.buckets.entry(bucket).or_default().push((at, center));
    }

    /// All centres within `side`, and some farther ones.
    fn near(&self, (x, y): Center) -> impl Iterator<Item = (usize, Center)> + '_ {
        let around = |v: u64| (v / self.side).saturating_sub(1)..=v / self.side + 1;
        let buckets = around(x).flat_map(move |bx| around(y).map(move |by| (bx, by)));
        buckets
            .filter_map(|it| self.buckets.get(&it))
            .flatten()
            .copied()
    }
}

/// Intersection over union as an exact fraction.
#[derive(Clone, Copy, Debug)]
struct Overlap {
    shared: u64,
    union: u128,
}

impl Overlap {
    /// `None` for boxes that do not touch.
    fn of(a: &BBox, b: &BBox) -> Option<Self> {
        let shared = a.intersection(b)?.area();
        Some(Self {
            shared,
            union: u128::from(a.area()) + u128::from(b.area()) - u128::from(shared),
        })
    }

    fn ratio(self) -> f64 {
        self.shared as f64 / self.union as f64
    }
}

impl Ord for Overlap {
    /// Cross-multiplied: both areas of a picture fit 64 bits by far, so nothing is lost.
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.shared).saturating_mul(other.union);
        left.cmp(&u128::from(other.shared).saturating_mul(self.union))
    }
}

impl PartialOrd for Overlap {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Overlap {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Overlap {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A box of 20 x 20 around a centre.
    fn around(x: u32, y: u32) -> BBox {
        BBox::new(x - 10, y - 10, x + 10, y + 10)
    }

    fn pairs(of: &[(usize, usize)]) -> Vec<Pair> {
        of.iter()
            .map(|&(point, found)| Pair { point, found })
            .collect()
    }

    #[test]
    fn the_radius_itself_is_too_far() {
        let found = [around(100, 100)];
        assert_eq!(match_points(&[(119, 100)], &found, 20), pairs(&[(0, 0)]));
        assert_eq!(match_points(&[(120, 100)], &found, 20), []);
        assert_eq!(match_points(&[(112, 116)], &found, 20), [], "12, 16, 20");
        assert_eq!(match_points(&[(100, 100)], &found, 0), []);
    }

    #[test]
    fn half_a_pixel_counts() {
        let odd = [BBox::new(90, 90, 111, 110)];
        assert_eq!(odd[0].center(), (100.5, 100.0));
        assert_eq!(
            match_points(&[(120, 100)], &odd, 20),
            pairs(&[(0, 0)]),
            "19.5 px"
        );
        assert_eq!(match_points(&[(80, 100)], &odd, 20), [], "20.5 px");
    }

    #[test]
    fn two_points_never_share_a_detection() {
        let found = [around(100, 100), around(115, 100)];
        assert_eq!(
            match_points(&[(101, 100), (100, 100)], &found, 20),
            pairs(&[(0, 1), (1, 0)])
        );
        assert_eq!(
            match_points(&[(100, 100), (100, 100)], &found[..1], 20),
            pairs(&[(0, 0)]),
            "the first of equals"
        );
    }

    #[test]
    fn overlap_decides_when_asked() {
        let truth = [BBox::new(0, 0, 10, 10), BBox::new(100, 100, 110, 110)];
        let found = [
            BBox::new(5, 0, 15, 10),
            BBox::new(0, 0, 10, 9),
            BBox::new(50, 50, 60, 60),
        ];
        assert_eq!(match_boxes(&truth, &found, 0.5), pairs(&[(0, 1)]));
        assert_eq!(
            recall_precision(&truth, &found, 0.5),
            Score {
                tp: 1,
                fp: 2,
                fn_: 1
            }
        );
        assert_eq!(
            match_boxes(&truth[..1], &found[..1], 1.0 / 3.0),
            pairs(&[(0, 0)]),
            "exactly a third"
        );
        assert_eq!(
            match_boxes(&truth, &found[2..], 0.0),
            [],
            "boxes that do not touch are no pair"
        );
    }

    #[test]
    fn nothing_to_find_is_found_completely() {
        let score = recall_precision(&[], &[], 0.5);
        assert!(
            (score.recall() - 1.0).abs() < f64::EPSILON
                && (score.precision() - 1.0).abs() < f64::EPSILON
        );
        let missed = recall_precision(&[around(50, 50)], &[], 0.5);
        assert!(missed.recall() < f64::EPSILON);
    }

    #[test]
    fn one_cell_found_twice_is_kept_once() {
        let boxes = [
            around(100, 100),
            around(110, 100),
            around(111, 100),
            around(121, 100),
        ];
        assert_eq!(
            dedupe(&boxes, DEDUPE_DISTANCE),
            [0, 2],
            "the dropped one at 110 does not drop 111, 111 drops 121"
        );
        let slant = [around(100, 100), around(107, 108)];
        assert_eq!(dedupe(&slant, 10), [0], "10.63 is cut to 10");
    }

    /// The rule as a sentence: again and again, the closest free pair.
    fn closest_first(points: &[(u32, u32)], found: &[BBox], radius: u32) -> Vec<Pair> {
        let distance = |pair: &Pair| {
            let ((x, y), (cx, cy)) = (points[pair.point], found[pair.found].doubled_center());
            let (dx, dy) = (i64::from(x) * 2 - cx as i64, i64::from(y) * 2 - cy as i64);
            dx * dx + dy * dy
        };
        let mut taken: Vec<Pair> = Vec::new();
        loop {
            let all = (0..points.len())
                .flat_map(|point| (0..found.len()).map(move |found| Pair { point, found }));
            let free = all.filter(|it| {
                taken
                    .iter()
                    .all(|other| other.point != it.point && other.found != it.found)
            });
            let near = free.filter(|it| distance(it) < 4 * i64::from(radius) * i64::from(radius));
            let Some(next) = near.min_by_key(|it| (distance(it), *it)) else {
                break;
            };
            taken.push(next);
        }
        taken.sort_unstable();
        taken
    }

    fn most_overlap_first(truth: &[BBox], found: &[BBox], min_iou: f64) -> Vec<Pair> {
        let mut taken: Vec<Pair> = Vec::new();
        loop {
            let mut best: Option<(f64, Pair)> = None;
            for (point, a) in truth.iter().enumerate() {
                for (at, b) in found.iter().enumerate() {
                    let free = taken.iter().all(|it| it.point != point && it.found != at);
                    let iou = a.iou(b);
                    if free
                        && iou > 0.0
                        && iou >= min_iou
                        && best.is_none_or(|(most, _)| iou > most)
                    {
                        best = Some((iou, Pair { point, found: at }));
                    }
                }
            }
            let Some((_, pair)) = best else { break };
            taken.push(pair);
        }
        taken.sort_unstable();
        taken
    }

    proptest! {
        #[test]
        fn matching_equals_its_definition(
            points in prop::collection::vec((0u32..120, 0u32..120), 0..25),
            found in prop::collection::vec(any_box(), 0..25),
            radius in 0u32..50,
        ) {
            prop_assert_eq!(match_points(&points, &found, radius), closest_first(&points, &found, radius));
        }

        #[test]
        fn matching_boxes_equals_its_definition(
            truth in prop::collection::vec(any_box(), 0..20),
            found in prop::collection::vec(any_box(), 0..20),
            min_iou in 0.0..1.0f64,
        ) {
            prop_assert_eq!(match_boxes(&truth, &found, min_iou), most_overlap_first(&truth, &found, min_iou));
        }

        #[test]
        fn what_is_kept_is_apart_and_what_is_dropped_is_near_something_kept(
            boxes in prop::collection::vec(any_box(), 0..60),
        ) {
            let near = |a: usize, b: usize| {
                let ((ax, ay), (bx, by)) = (boxes[a].center(), boxes[b].center());
                (ax - bx).hypot(ay - by).floor() <= 10.0
            };
            let kept = dedupe(&boxes, 10);
            for at in 0..boxes.len() {
                let by_an_earlier_one = kept.iter().any(|&it| it < at && near(it, at));
                prop_assert_eq!(kept.contains(&at), !by_an_earlier_one);
            }
        }
    }

    fn any_box() -> impl Strategy<Value = BBox> {
        (0u32..100, 0u32..100, 1u32..40, 1u32..40)
            .prop_map(|(x, y, w, h)| BBox::new(x, y, x + w, y + h))
    }

    #[test]
    fn ten_thousand_against_ten_thousand_is_no_matter() {
        let place = |i: u32| (20 + (i % 100) * 60, 20 + (i / 100) * 60);
        let points: Vec<_> = (0..10_000).map(place).collect();
        let found: Vec<_> = (0..10_000)
            .rev()
            .map(|i| around(place(i).0 + 3, place(i).1))
            .collect();
        let got = match_points(&points, &found, 20);
        assert!(got.iter().all(|it| it.point + it.found == 9_999));
        assert_eq!(got.len(), 10_000);
    }
}
