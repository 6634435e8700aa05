//! How good a trained detector is: its threshold by the validation part, the figures of the test part once, at the end.

use cellmill_core::detection::{Rule, Scene, Settings, average_precision, best_threshold, count};
use cellmill_core::formats::CellImage;
use cellmill_core::model::{Detected, DetectedClass, DetectorFacts};
use cellmill_worker::{Cause, Failure, StopSignal};
use serde::Serialize;

use super::fields::Shelf;
use crate::detector::{FindOptions, LearnedFinder, MAX_BOXES};

/// From where on boxes count when there is no validation part to say so.
const USUAL_SCORE: f64 = 0.3;

/// What a detector is worth.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) facts: DetectorFacts,
    /// `detections.json`.
    pub(super) detections: Vec<u8>,
}

/// A line of `detections.json`.
#[derive(Debug, Serialize)]
struct Row<'a> {
    image: &'a str,
    part: &'static str,
    class: u32,
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
    score: f64,
}

/// Judges a detector. `types` are the ids of its classes.
pub(super) fn judge(
    finder: &mut LearnedFinder,
    [validation, test]: [&Shelf; 2],
    types: &[u32],
    stop: &StopSignal,
) -> Result<Verdict, Failure> {
    let of_validation = scenes(finder, validation, stop)?;
    let of_test = scenes(finder, test, stop)?;
    let best = best_threshold(&of_validation, &Rule::default());
    // Down to what JSON keeps exactly.
    let min_score = best.map_or(USUAL_SCORE, |it| (it.min_score * 1e4).floor() / 1e4);
    let shape = finder.shape();
    let measured = |scenes: &[Scene]| {
        let is_there = !scenes.is_empty();
        is_there.then(|| figures(scenes, types, min_score))
    };
    let mut rows = Vec::new();
    for (shelf, scenes, part) in [
        (validation, &of_validation, "validation"),
        (test, &of_test, "test"),
    ] {
        for (image, scene) in shelf.images.iter().zip(scenes) {
            rows.extend(rows_of(image, part, scene, types, shape.zoom));
        }
    }
    Ok(Verdict {
        facts: DetectorFacts {
            zoom: shape.zoom,
            reach: (shape.reach * 100.0).round() / 100.0,
            min_score,
            max_overlap: f64::from(FindOptions::default().max_overlap * 100.0).round() / 100.0,
            validation: measured(&of_validation),
            test: measured(&of_test),
        },
        detections: serde_json::to_vec(&rows).expect("rows hold nothing that JSON can't"),
    })
}

fn scenes(
    finder: &mut LearnedFinder,
    shelf: &Shelf,
    stop: &StopSignal,
) -> Result<Vec<Scene>, Failure> {
    let failed = |error: Cause| Failure::permanent("could not judge the detector", error);
    let scene = |field| {
        stop.check()?;
        finder.scene(field).map_err(failed)
    };
    shelf.fields.iter().map(scene).collect()
}

fn figures(scenes: &[Scene], types: &[u32], min_score: f64) -> Detected {
    let settings = Settings {
        max_dets: MAX_BOXES,
        is_agnostic: false,
    };
    let evaluation = average_precision(scenes, &settings);
    let rule = Rule {
        min_score,
        ..Rule::default()
    };
    let counts = count(scenes, &rule);
    let class = |(at, &class): (usize, &u32)| {
        let at = at as u32;
        let found = evaluation.per_class.iter().find(|it| it.class == at);
        let score = counts.per_class.get(&at).copied().unwrap_or_default();
        DetectedClass {
            class,
            n_cells: found.map_or(0, |it| it.n_truth),
            ap: found.and_then(|it| it.figures.ap),
            ap50: found.and_then(|it| it.figures.ap50),
            precision: score.precision(),
            recall: score.recall(),
            f1: score.f1(),
        }
    };
    Detected {
        n_images: scenes.len() as u64,
        n_cells: scenes.iter().map(|it| it.truth.len() as u64).sum(),
        ap: evaluation.overall.ap.unwrap_or(0.0),
        ap50: evaluation.overall.ap50.unwrap_or(0.0),
        precision: counts.overall.precision(),
        recall: counts.overall.recall(),
        f1: counts.overall.f1(),
        per_class: types.iter().enumerate().map(class).collect(),
    }
}

/// In pixels of the image, to a tenth.
fn rows_of<'a>(
    image: &'a CellImage,
    part: &'static str,
    scene: &'a Scene,
    types: &'a [u32],
    zoom: f64,
) -> impl Iterator<Item = Row<'a>> {
    scene.found.iter().map(move |it| {
        let [x1, y1, x2, y2] = it.bbox.map(|it| (it / zoom * 10.0).round() / 10.0);
        Row {
            image: &image.key,
            part,
            class: types[it.class as usize],
            x1,
            y1,
            x2,
            y2,
            score: (it.score * 1e4).round() / 1e4,
        }
    })
}
