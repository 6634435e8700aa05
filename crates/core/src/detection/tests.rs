//! What holds of average precision, and figures worked out by hand.

use proptest::prelude::*;

use super::*;

const CLOSE: f64 = 1e-12;

fn truth(class: u32, x: f64) -> Truth {
    Truth {
        class,
        bbox: [x, 0.0, x + 10.0, 10.0],
        crowd: false,
    }
}

fn found(class: u32, x: f64, score: f64) -> Found {
    Found {
        class,
        bbox: [x, 0.0, x + 10.0, 10.0],
        score,
    }
}

fn figures(scenes: &[Scene]) -> Figures {
    average_precision(scenes, &Settings::default()).overall
}

fn assert_close(got: Option<f64>, want: f64) {
    let got = got.expect("there is something to find");
    assert!((got - want).abs() < CLOSE, "{got} is not {want}");
}

#[test]
fn the_figures_are_those_worked_out_by_hand() {
    // In order of score: hit, false, hit, and one cell of three is missed.
    let scene = Scene {
        truth: vec![truth(1, 0.0), truth(1, 50.0), truth(1, 100.0)],
        found: vec![
            found(1, 0.0, 0.9),
            found(1, 300.0, 0.8),
            found(1, 50.0, 0.7),
        ],
    };
    let got = figures(&[scene]);
    // Precision 1 at recalls up to 1/3 (34 points), 2/3 up to 2/3 (33 points), then 0.
    assert_close(got.ap50, (34.0 + 33.0 * 2.0 / 3.0) / 101.0);
    assert_close(got.ap, (34.0 + 33.0 * 2.0 / 3.0) / 101.0);
    assert_close(got.ar, 2.0 / 3.0);
}

#[test]
fn the_overlap_decides_at_which_thresholds_a_cell_counts() {
    // Shifted by a fifth: 8 of 12, which is enough at .50, .55, .60 and .65.
    let scene = Scene {
        truth: vec![truth(1, 0.0)],
        found: vec![found(1, 2.0, 0.5)],
    };
    let got = figures(&[scene]);
    assert_close(got.ap, 0.4);
    assert_close(got.ap75, 0.0);
    assert_close(got.ar, 0.4);
}

#[test]
fn a_class_without_truth_is_left_out_of_the_mean() {
    let scene = Scene {
        truth: vec![truth(1, 0.0), truth(2, 50.0)],
        found: vec![found(1, 0.0, 0.9), found(3, 90.0, 0.9), found(3, 95.0, 0.8)],
    };
    let got = average_precision(&[scene], &Settings::default());
    assert_close(got.overall.ap, 0.5);
    let shown: Vec<_> = got
        .per_class
        .iter()
        .map(|it| (it.class, it.n_truth, it.n_found, it.figures.ap.is_some()))
        .collect();
    assert_eq!(shown, [(1, 1, 1, true), (2, 1, 0, true), (3, 0, 2, false)]);
    assert_eq!(figures(&[]), Figures::default());
}

#[test]
fn only_the_surest_of_an_image_count() {
    let scene = Scene {
        truth: (0..200).map(|it| truth(1, f64::from(it) * 20.0)).collect(),
        found: (0..200)
            .map(|it| found(1, f64::from(it) * 20.0, 0.5))
            .collect(),
    };
    let recall = |max_dets| {
        let settings = Settings {
            max_dets,
            is_agnostic: false,
        };
        average_precision(std::slice::from_ref(&scene), &settings)
            .overall
            .ar
    };
    assert_close(recall(100), 0.5);
    assert_close(recall(1000), 1.0);
    assert_close(recall(0), 0.0);
}

#[test]
fn a_crowd_asks_for_nothing_and_excuses_what_lies_in_it() {
    let scene = Scene {
        truth: vec![
            truth(1, 0.0),
            Truth {
                class: 1,
                bbox: [100.0, 0.0, 200.0, 10.0],
                crowd: true,
            },
        ],
        found: vec![
            found(1, 120.0, 0.9),
            found(1, 150.0, 0.8),
            found(1, 0.0, 0.7),
        ],
    };
    assert_close(figures(&[scene]).ap, 1.0);
}

#[test]
fn crowded_images_are_no_matter() {
    let scene = Scene {
        truth: (0..1000).map(|it| truth(it % 5, f64::from(it))).collect(),
        found: (0..1000)
            .map(|it| found(it % 5, f64::from(it) + 1.0, f64::from(it * 7 % 100)))
            .collect(),
    };
    let settings = Settings {
        max_dets: 1000,
        is_agnostic: false,
    };
    let all = average_precision(&vec![scene; 20], &settings);
    assert_close(all.overall.ar, 0.7);
}

/// Cells at places of their own, so that none stands in for another.
fn any_truth() -> impl Strategy<Value = Vec<Scene>> {
    let places = prop::collection::btree_map(0u32..50, (0u32..3, 1u32..15), 0..15);
    let scene = places.prop_map(|it| Scene {
        truth: it
            .into_iter()
            .map(|(at, (class, side))| {
                let (x, side) = (f64::from(at) * 20.0, f64::from(side));
                Truth {
                    class,
                    bbox: [x, 3.0, x + side, 3.0 + side],
                    crowd: false,
                }
            })
            .collect(),
        found: Vec::new(),
    });
    prop::collection::vec(scene, 1..5)
}

fn any_scenes() -> impl Strategy<Value = Vec<Scene>> {
    let bbox = || {
        (0u32..40, 0u32..40, 1u32..20, 1u32..20)
            .prop_map(|(x, y, w, h)| [x, y, x + w, y + h].map(f64::from))
    };
    let truth = (0u32..3, bbox(), 0u32..8).prop_map(|(class, bbox, crowd)| Truth {
        class,
        bbox,
        crowd: crowd == 0,
    });
    let found = (0u32..3, bbox(), 0u32..1000).prop_map(|(class, bbox, score)| Found {
        class,
        bbox,
        score: f64::from(score),
    });
    let scene = (
        prop::collection::vec(truth, 0..12),
        prop::collection::vec(found, 0..12),
    );
    prop::collection::vec(
        scene.prop_map(|(truth, found)| Scene { truth, found }),
        0..4,
    )
}

/// Cells each at a place of its own, found cells each at one of the places, and no score twice: nothing is equal.
fn without_ties() -> impl Strategy<Value = Vec<Scene>> {
    let found = (0u32..50, 0u32..3, 0u32..15, 1u32..15, 0u32..1000);
    let founds = prop::collection::vec(prop::collection::vec(found, 0..12), 4);
    (any_truth(), founds).prop_map(|(mut scenes, founds)| {
        let mut n = 0;
        for (scene, founds) in scenes.iter_mut().zip(founds) {
            for (at, class, shift, side, score) in founds {
                n += 1;
                let side = f64::from(side.min(19 - shift));
                let x = f64::from(at * 20 + shift);
                scene.found.push(Found {
                    class,
                    bbox: [x, 3.0, x + side, 3.0 + side],
                    score: f64::from(score * 100 + n),
                });
            }
        }
        scenes
    })
}

proptest! {
    #[test]
    fn what_is_there_and_nothing_else_is_perfect(mut scenes in any_truth(), is_agnostic: bool) {
        for scene in &mut scenes {
            let found = scene.truth.iter().enumerate();
            scene.found = found
                .map(|(at, it)| Found { class: it.class, bbox: it.bbox, score: at as f64 })
                .collect();
        }
        let got = average_precision(&scenes, &Settings { is_agnostic, ..Settings::default() }).overall;
        let n: usize = scenes.iter().map(|it| it.truth.len()).sum();
        for figure in [got.ap, got.ap50, got.ap75, got.ar] {
            prop_assert_eq!(figure.is_some(), n > 0);
            prop_assert!(figure.is_none_or(|it| (it - 1.0).abs() < CLOSE));
        }
        let counted = count(&scenes, &Rule::default()).overall;
        prop_assert_eq!((counted.tp, counted.fp, counted.fn_), (n, 0, 0));
    }

    #[test]
    fn without_ties_no_order_decides(scenes in without_ties()) {
        let mut turned = scenes.clone();
        turned.reverse();
        for scene in &mut turned {
            scene.truth.reverse();
            scene.found.reverse();
        }
        let settings = Settings::default();
        prop_assert_eq!(average_precision(&scenes, &settings), average_precision(&turned, &settings));
    }

    #[test]
    fn figures_are_shares_and_the_same_every_time(scenes in any_scenes(), max_dets in 0usize..20, is_agnostic: bool) {
        let settings = Settings { max_dets, is_agnostic };
        let got = average_precision(&scenes, &settings);
        prop_assert_eq!(&got, &average_precision(&scenes, &settings));
        let has_crowd = scenes.iter().flat_map(|it| &it.truth).any(|it| it.crowd);
        let classes = got.per_class.iter().map(|it| &it.figures);
        for it in classes.chain([&got.overall]) {
            for figure in [it.ap, it.ap50, it.ap75, it.ar].into_iter().flatten() {
                prop_assert!((0.0..=1.0 + CLOSE).contains(&figure));
            }
            // A cell that leaves a crowd for a true one may push another out; else a higher overlap is never easier.
            prop_assert!(has_crowd || it.ap <= it.ap50.map(|it| it + CLOSE));
        }
    }

    #[test]
    fn every_cell_is_in_one_place(scenes in any_scenes(), is_agnostic: bool) {
        for scene in &scenes {
            let all = matches(scene, &Rule { is_agnostic, ..Rule::default() });
            let paired = || all.hits.iter().chain(&all.wrong_class);
            let mut truths: Vec<_> = paired().map(|it| it.truth).chain(all.misses.clone()).collect();
            let crowds = (0..scene.truth.len()).filter(|&it| scene.truth[it].crowd);
            truths.extend(crowds);
            truths.sort_unstable();
            prop_assert_eq!(truths, (0..scene.truth.len()).collect::<Vec<_>>());
            let founds = paired().map(|it| it.found).chain(all.false_alarms.clone()).chain(all.ignored.clone());
            let mut founds: Vec<_> = founds.collect();
            founds.sort_unstable();
            prop_assert_eq!(founds, (0..scene.found.len()).collect::<Vec<_>>());
            prop_assert!(!is_agnostic || all.wrong_class.is_empty());
            for it in &all.hits {
                let (truth, found) = (&scene.truth[it.truth], &scene.found[it.found]);
                prop_assert!(iou(&truth.bbox, &found.bbox) >= 0.5);
                prop_assert!(is_agnostic || truth.class == found.class);
            }
        }
    }
}
