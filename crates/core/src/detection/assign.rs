//! Who belongs to whom: found cells choose among true ones, the surest first.

use std::cmp::Ordering;

use super::overlaps::{Candidate, Overlaps};
use super::scene::Scene;

/// One image as matching sees it, whether its cells are boxes or masks.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    pub(super) truths: Vec<Goal>,
    pub(super) founds: Vec<Guess>,
    pub(super) overlaps: Overlaps,
}

/// A cell to find.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    pub(super) class: u32,
    pub(super) crowd: bool,
}

/// A cell that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guess {
    pub(super) class: u32,
    pub(super) score: f64,
}

impl Case {
    pub(super) fn of_boxes(scene: &Scene) -> Self {
        let truths = scene.truth.iter().map(|it| Goal {
            class: it.class,
            crowd: it.crowd,
        });
        let founds = scene.found.iter().map(|it| Guess {
            class: it.class,
            score: it.score,
        });
        Self {
            truths: truths.collect(),
            founds: founds.collect(),
            overlaps: Overlaps::of_boxes(&scene.truth, &scene.found),
        }
    }

    /// The found cells, the surest first. Equal scores keep their order, or that of their classes where classes are
    /// not told apart, because COCO's evaluation then goes through them class by class.
    pub(super) fn surest_first(&self, is_agnostic: bool) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.founds.len()).collect();
        if is_agnostic {
            order.sort_by_key(|&it| self.founds[it].class);
        }
        order.sort_by(|&a, &b| surer(self.founds[a].score, self.founds[b].score));
        order
    }

    /// The true cell of each found one in `order`, at an overlap of `min_overlap` or more.
    ///
    /// Each takes the free cell of its class (of any class where they are not told apart) that it overlaps most; of
    /// equals the last. Only where there is none it may lie in a crowd, which is never used up.
    pub(super) fn assign(
        &self,
        order: &[usize],
        is_agnostic: bool,
        min_overlap: f64,
    ) -> Vec<Option<usize>> {
        let mut is_taken = vec![false; self.truths.len()];
        let mut assigned = Vec::with_capacity(order.len());
        for &found in order {
            let class = self.founds[found].class;
            let chosen = self.best(found, |it| {
                let truth = self.truths[it.truth];
                let is_free = !is_taken[it.truth] && (is_agnostic || truth.class == class);
                // Without classes, COCO's evaluation goes through the cells class by class.
                let place = if is_agnostic { truth.class } else { 0 };
                (is_free && it.overlap >= min_overlap).then_some((it.overlap, place, it.truth))
            });
            if let Some(truth) = chosen {
                is_taken[truth] = !self.truths[truth].crowd;
            }
            assigned.push(chosen);
        }
        assigned
    }

    /// The candidate with the highest rank; one that has none is not chosen.
    fn best(
        &self,
        found: usize,
        rank: impl Fn(Candidate) -> Option<(f64, u32, usize)>,
    ) -> Option<usize> {
        let (mut of_cells, mut of_crowds) = (None, None);
        for &it in self.overlaps.of(found) {
            let best = if self.truths[it.truth].crowd {
                &mut of_crowds
            } else {
                &mut of_cells
            };
            // An absent rank is below all others.
            if rank(it) > *best {
                *best = rank(it);
            }
        }
        of_cells.or(of_crowds).map(|(.., truth)| truth)
    }
}

/// Higher scores come first; what is no number comes last.
pub(super) fn surer(a: f64, b: f64) -> Ordering {
    // Adding 0 makes -0 the 0 that it equals.
    let rank = |it: f64| {
        if it.is_nan() {
            f64::NEG_INFINITY
        } else {
            it + 0.0
        }
    };
    rank(b).total_cmp(&rank(a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::{Found, Truth};

    fn truth(x1: f64, x2: f64) -> Truth {
        Truth {
            class: 1,
            bbox: [x1, 0.0, x2, 10.0],
            crowd: false,
        }
    }

    fn found(x1: f64, x2: f64, score: f64) -> Found {
        Found {
            class: 1,
            bbox: [x1, 0.0, x2, 10.0],
            score,
        }
    }

    fn assigned(truth: &[Truth], found: &[Found]) -> Vec<Option<usize>> {
        let case = Case::of_boxes(&Scene {
            truth: truth.to_vec(),
            found: found.to_vec(),
        });
        let order = case.surest_first(false);
        let chosen = case.assign(&order, false, 0.5);
        let mut by_found = vec![None; order.len()];
        for (at, truth) in order.into_iter().zip(chosen) {
            by_found[at] = truth;
        }
        by_found
    }

    #[test]
    fn the_surest_chooses_first_even_when_another_fits_better() {
        let got = assigned(
            &[truth(0.0, 10.0)],
            &[found(0.0, 10.0, 0.8), found(2.0, 10.0, 0.9)],
        );
        assert_eq!(got, [None, Some(0)]);
    }

    #[test]
    fn of_equal_overlaps_the_last_is_taken() {
        let twins = [truth(0.0, 10.0), truth(0.0, 10.0)];
        let got = assigned(&twins, &[found(0.0, 10.0, 0.5), found(0.0, 10.0, 0.5)]);
        assert_eq!(got, [Some(1), Some(0)]);
    }

    #[test]
    fn a_crowd_takes_any_number_but_only_what_no_cell_takes() {
        let crowd = Truth {
            crowd: true,
            ..truth(0.0, 100.0)
        };
        let founds = [
            found(0.0, 10.0, 0.9),
            found(0.0, 10.0, 0.8),
            found(50.0, 60.0, 0.7),
            found(96.0, 106.0, 0.6),
        ];
        let got = assigned(&[crowd, truth(0.0, 9.0)], &founds);
        assert_eq!(got, [Some(1), Some(0), Some(0), None]);
    }

    #[test]
    fn scores_that_are_no_number_come_last() {
        let mut scores = [f64::NAN, 0.1, -0.0, 0.0, 0.9];
        scores.sort_by(|a, b| surer(*a, *b));
        assert_eq!(scores[..2], [0.9, 0.1]);
        assert!(scores[2].is_sign_negative() && scores[4].is_nan());
    }
}
