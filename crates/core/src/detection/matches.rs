//! Who is whom in one image: what a picture of hits and misses is drawn from.

use serde::Serialize;

use super::assign::Case;
use super::scene::Scene;

/// When a found cell is a true one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The least intersection over union.
    pub min_iou: f64,
    /// Only what is found with this score or a higher one counts.
    pub min_score: f64,
    /// Do not tell classes apart.
    pub is_agnostic: bool,
}

impl Default for Rule {
    /// Half of both together, every score, of the same class.
    fn default() -> Self {
        Self {
            min_iou: 0.5,
            min_score: f64::NEG_INFINITY,
            is_agnostic: false,
        }
    }
}

/// Indices of a true cell and of the found one that is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Pair {
    pub truth: usize,
    pub found: usize,
}

/// Every cell of an image in its place, by index, ascending. What scores too low is nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matches {
    pub hits: Vec<Pair>,
    /// Found in the right place, but called another class: for its class it is a false alarm, and the true cell is
    /// missed.
    pub wrong_class: Vec<Pair>,
    /// True cells at which nothing was found.
    pub misses: Vec<usize>,
    /// Found cells that are none.
    pub false_alarms: Vec<usize>,
    /// Found cells in a crowd, neither right nor wrong.
    pub ignored: Vec<usize>,
}

/// Matches an image's cells one to one, the surest found cell first.
///
/// ```
/// use cellmill_core::detection::{Found, Pair, Rule, Scene, Truth, matches};
/// let bbox = [0.0, 0.0, 10.0, 10.0];
/// let scene = Scene {
///     truth: vec![Truth { class: 301, bbox, crowd: false }],
///     found: vec![Found { class: 302, bbox, score: 0.9 }],
/// };
/// let apart = matches(&scene, &Rule::default());
/// assert_eq!(apart.wrong_class, [Pair { truth: 0, found: 0 }]);
/// let alike = matches(&scene, &Rule { is_agnostic: true, ..Rule::default() });
/// assert_eq!(alike.hits, [Pair { truth: 0, found: 0 }]);
/// ```
pub fn matches(scene: &Scene, rule: &Rule) -> Matches {
    let case = Case::of_boxes(scene);
    let mut order = case.surest_first(rule.is_agnostic);
    order.retain(|&it| case.founds[it].score >= rule.min_score);
    let assigned = case.assign(&order, rule.is_agnostic, rule.min_iou);

    let mut all = Matches::default();
    let mut is_missed: Vec<bool> = case.truths.iter().map(|it| !it.crowd).collect();
    let mut left = Vec::new();
    for (found, truth) in order.into_iter().zip(assigned) {
        match truth {
            Some(truth) if case.truths[truth].crowd => all.ignored.push(found),
            Some(truth) => {
                is_missed[truth] = false;
                all.hits.push(Pair { truth, found });
            }
            None => left.push(found),
        }
    }
    // Among what is left, one in the place of a missed cell is a wrong name rather than two mistakes.
    for found in left {
        let near = case.overlaps.of(found).iter();
        let best = near
            .filter(|it| is_missed[it.truth] && it.overlap >= rule.min_iou)
            .max_by(|a, b| a.overlap.total_cmp(&b.overlap));
        match best.map(|it| it.truth) {
            Some(truth) => {
                is_missed[truth] = false;
                all.wrong_class.push(Pair { truth, found });
            }
            None => all.false_alarms.push(found),
        }
    }
    all.misses = (0..is_missed.len()).filter(|&it| is_missed[it]).collect();
    all.hits.sort_unstable();
    all.wrong_class.sort_unstable();
    all.false_alarms.sort_unstable();
    all.ignored.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::{Found, Truth};

    const A: u32 = 301;
    const B: u32 = 302;

    fn truth(class: u32, x1: f64, crowd: bool) -> Truth {
        Truth {
            class,
            bbox: [x1, 0.0, x1 + 10.0, 10.0],
            crowd,
        }
    }

    fn found(class: u32, x1: f64, score: f64) -> Found {
        Found {
            class,
            bbox: [x1, 0.0, x1 + 10.0, 10.0],
            score,
        }
    }

    fn scene() -> Scene {
        Scene {
            truth: vec![
                truth(A, 0.0, false),
                truth(A, 100.0, false),
                truth(B, 200.0, false),
                truth(A, 300.0, true),
            ],
            found: vec![
                found(A, 1.0, 0.9),
                found(A, 0.0, 0.8),
                found(A, 201.0, 0.7),
                found(A, 302.0, 0.6),
                found(B, 50.0, 0.5),
            ],
        }
    }

    #[test]
    fn every_cell_has_one_place() {
        let want = Matches {
            hits: vec![Pair { truth: 0, found: 0 }],
            wrong_class: vec![Pair { truth: 2, found: 2 }],
            misses: vec![1],
            false_alarms: vec![1, 4],
            ignored: vec![3],
        };
        assert_eq!(matches(&scene(), &Rule::default()), want);
    }

    #[test]
    fn what_scores_too_low_is_not_there() {
        let rule = Rule {
            min_score: 0.8,
            ..Rule::default()
        };
        let got = matches(&scene(), &rule);
        assert_eq!((got.misses, got.false_alarms), (vec![1, 2], vec![1]));
    }

    #[test]
    fn a_duplicate_of_another_class_is_no_wrong_class() {
        let scene = Scene {
            truth: vec![truth(A, 0.0, false)],
            found: vec![found(B, 0.0, 0.9), found(A, 0.0, 0.1)],
        };
        let got = matches(&scene, &Rule::default());
        assert_eq!(got.hits, [Pair { truth: 0, found: 1 }]);
        assert_eq!(got.false_alarms, [0]);
    }
}
