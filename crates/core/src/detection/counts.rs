//! Precision, recall and F1 at one threshold, and the threshold that is best.

use std::collections::BTreeMap;

use super::assign::{Case, surer};
use super::matches::{Rule, matches};
use super::scene::Scene;
use crate::matching::Score;

/// How many were found, missed and wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All images and classes together.
    pub overall: Score,
    /// By class; empty where classes are not told apart.
    pub per_class: BTreeMap<u32, Score>,
    /// How many of the misses were found in their place, but called another class.
    pub wrong_class: usize,
}

/// Counts the cells of all images by [`matches`].
pub fn count(scenes: &[Scene], rule: &Rule) -> Counts {
    let mut counts = Counts::default();
    for scene in scenes {
        let all = matches(scene, rule);
        let truth = |at: usize| scene.truth[at].class;
        let found = |at: usize| scene.found[at].class;
        let mut add = |class: u32, tp: usize, fp: usize, fn_: usize| {
            counts.overall += Score { tp, fp, fn_ };
            if !rule.is_agnostic {
                *counts.per_class.entry(class).or_default() += Score { tp, fp, fn_ };
            }
        };
        for it in &all.hits {
            add(truth(it.truth), 1, 0, 0);
        }
        for it in &all.wrong_class {
            add(found(it.found), 0, 1, 0);
            add(truth(it.truth), 0, 0, 1);
        }
        for &it in &all.misses {
            add(truth(it), 0, 0, 1);
        }
        for &it in &all.false_alarms {
            add(found(it), 0, 1, 0);
        }
        counts.wrong_class += all.wrong_class.len();
    }
    counts
}

/// A threshold of the score, and what it gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    pub min_score: f64,
    pub score: Score,
}

/// The score from which on found cells give the highest F1 over all images, the higher one of equals; `None` when
/// nothing was found. The rule's own `min_score` is not looked at.
///
/// It is chosen on the images that it is measured on: use it to set a detector up, and measure on others.
pub fn best_threshold(scenes: &[Scene], rule: &Rule) -> Option<Best> {
    let mut n_truth = 0;
    let mut outcomes = Vec::new();
    for scene in scenes {
        let case = Case::of_boxes(scene);
        n_truth += case.truths.iter().filter(|it| !it.crowd).count();
        let order = case.surest_first(rule.is_agnostic);
        let assigned = case.assign(&order, rule.is_agnostic, rule.min_iou);
        for (found, truth) in order.into_iter().zip(assigned) {
            let is_hit = truth.map(|it| !case.truths[it].crowd);
            outcomes.push((case.founds[found].score, is_hit));
        }
    }
    outcomes.retain(|(score, _)| !score.is_nan());
    outcomes.sort_by(|a, b| surer(a.0, b.0));

    // The surest choose first, so a higher threshold changes nothing for those above it.
    let mut best: Option<Best> = None;
    let mut score = Score {
        tp: 0,
        fp: 0,
        fn_: n_truth,
    };
    for (at, &(min_score, is_hit)) in outcomes.iter().enumerate() {
        match is_hit {
            Some(true) => {
                score.tp += 1;
                score.fn_ -= 1;
            }
            None => score.fp += 1,
            // In a crowd.
            Some(false) => {}
        }
        let is_last_of_equals = outcomes
            .get(at + 1)
            .is_none_or(|it| surer(min_score, it.0).is_ne());
        if is_last_of_equals && best.is_none_or(|it| score.f1() > it.score.f1()) {
            best = Some(Best { min_score, score });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detection::{Found, Truth};

    fn scene(truth: &[(u32, f64)], found: &[(u32, f64, f64)]) -> Scene {
        let bbox = |x: f64| [x, 0.0, x + 10.0, 10.0];
        Scene {
            truth: truth
                .iter()
                .map(|&(class, x)| Truth {
                    class,
                    bbox: bbox(x),
                    crowd: false,
                })
                .collect(),
            found: found
                .iter()
                .map(|&(class, x, score)| Found {
                    class,
                    bbox: bbox(x),
                    score,
                })
                .collect(),
        }
    }

    #[test]
    fn a_wrong_class_is_a_false_alarm_and_a_miss() {
        let scenes = [scene(
            &[(1, 0.0), (1, 50.0)],
            &[(1, 0.0, 0.9), (2, 50.0, 0.9)],
        )];
        let apart = count(&scenes, &Rule::default());
        let score = |tp, fp, fn_| Score { tp, fp, fn_ };
        assert_eq!(apart.overall, score(1, 1, 1));
        assert_eq!(apart.wrong_class, 1);
        let per_class = [(1, score(1, 0, 1)), (2, score(0, 1, 0))];
        assert_eq!(apart.per_class, BTreeMap::from(per_class));
        let rule = Rule {
            is_agnostic: true,
            ..Rule::default()
        };
        assert_eq!(count(&scenes, &rule).overall, score(2, 0, 0));
    }

    #[test]
    fn the_best_threshold_leaves_the_false_alarms_away() {
        let scenes = [scene(
            &[(1, 0.0), (1, 50.0), (1, 100.0)],
            &[
                (1, 0.0, 0.9),
                (1, 50.0, 0.5),
                (1, 200.0, 0.5),
                (1, 300.0, 0.4),
                (1, 400.0, 0.3),
                (1, 100.0, 0.2),
            ],
        )];
        // 0.9: 2/4, 0.5: 4/6, 0.4: 4/7, 0.3: 4/8, 0.2: 6/9, which is no better than 0.5.
        let best = best_threshold(&scenes, &Rule::default()).unwrap();
        assert!((best.min_score - 0.5).abs() < 1e-12);
        assert_eq!(
            best.score,
            Score {
                tp: 2,
                fp: 1,
                fn_: 1
            }
        );
        assert_eq!(best_threshold(&[], &Rule::default()), None);
    }

    proptest! {
        #[test]
        fn the_best_threshold_gives_what_counting_at_it_gives(
            truth in prop::collection::vec((0u32..3, 0u32..60), 0..20),
            found in prop::collection::vec((0u32..3, 0u32..60, 0u32..6), 0..20),
            is_agnostic: bool,
        ) {
            let truth: Vec<_> = truth.iter().map(|&(class, x)| (class, f64::from(x))).collect();
            let found: Vec<_> = found.iter().map(|&(class, x, s)| (class, f64::from(x), f64::from(s))).collect();
            let scenes = [scene(&truth, &found)];
            let rule = Rule { is_agnostic, ..Rule::default() };
            let at = |min_score| count(&scenes, &Rule { min_score, ..rule }).overall;
            let best = best_threshold(&scenes, &rule);
            prop_assert_eq!(best.is_none(), found.is_empty());
            if let Some(best) = best {
                prop_assert_eq!(at(best.min_score), best.score);
                for step in 0..6 {
                    let kept = found.iter().any(|it| it.2 >= f64::from(step));
                    prop_assert!(!kept || at(f64::from(step)).f1() <= best.score.f1());
                }
            }
        }
    }
}
