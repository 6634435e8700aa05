//! What a detector found against what is there: hits, misses and false alarms, each in a colour of its own.

use std::collections::BTreeMap;

use cellmill_core::boxes::BBox;
use cellmill_core::detection::{Matches, Scene};
use cellmill_vision::RgbImage;
use cellmill_vision::draw::{Mark, draw_marks, with_legend};

/// Far from each other and from the pink of stains, for most colour-blind eyes too (Okabe and Ito 2008).
const HIT: [u8; 3] = [0, 158, 115];
const MISS: [u8; 3] = [213, 94, 0];
const FALSE_ALARM: [u8; 3] = [0, 114, 178];
const WRONG_CLASS: [u8; 3] = [0; 3];
const IGNORED: [u8; 3] = [120; 3];

/// Draws every cell of an image, and a legend that counts them.
pub(super) fn drawn(
    mut image: RgbImage,
    scene: &Scene,
    matches: &Matches,
    classes: &BTreeMap<u32, String>,
) -> RgbImage {
    let size = (image.width, image.height);
    draw_marks(&mut image, &marks(size, scene, matches, classes));
    with_legend(&image, &legend(matches))
}

/// What is wrong lies over what is right. Hits have no text: there are many of them, and nothing to say.
fn marks(
    (width, height): (u32, u32),
    scene: &Scene,
    matches: &Matches,
    classes: &BTreeMap<u32, String>,
) -> Vec<Mark> {
    let name = |class: u32| classes.get(&class).cloned();
    let name = |class: u32| name(class).unwrap_or_else(|| class.to_string());
    let truth = |at: usize| &scene.truth[at];
    let found = |at: usize| &scene.found[at];
    let mut all = Vec::new();
    let mut add = |sides: &[f64; 4], color, label| {
        let [x1, y1, x2, y2] = sides.map(|it| it.round() as i64);
        if let Some(bbox) = BBox::clamped(x1, y1, x2, y2, width, height) {
            all.push(Mark { bbox, color, label });
        }
    };
    for &it in &matches.ignored {
        add(&found(it).bbox, IGNORED, String::new());
    }
    for it in &matches.hits {
        add(&found(it.found).bbox, HIT, String::new());
    }
    for &it in &matches.misses {
        add(&truth(it).bbox, MISS, name(truth(it).class));
    }
    for &it in &matches.false_alarms {
        let label = format!("{} {:.2}", name(found(it).class), found(it).score);
        add(&found(it).bbox, FALSE_ALARM, label);
    }
    for it in &matches.wrong_class {
        let (truth, found) = (truth(it.truth), found(it.found));
        let label = format!("{} is {}", name(found.class), name(truth.class));
        add(&found.bbox, WRONG_CLASS, label);
    }
    all
}

fn legend(matches: &Matches) -> Vec<([u8; 3], String)> {
    let always = [
        (HIT, "hits", matches.hits.len()),
        (MISS, "misses", matches.misses.len()),
        (FALSE_ALARM, "false alarms", matches.false_alarms.len()),
    ];
    let sometimes = [
        (WRONG_CLASS, "wrong class", matches.wrong_class.len()),
        (IGNORED, "ignored", matches.ignored.len()),
    ];
    let there = sometimes.into_iter().filter(|(.., n)| *n > 0);
    always
        .into_iter()
        .chain(there)
        .map(|(color, words, n)| (color, format!("{words} {n}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use cellmill_core::detection::{Found, Rule, Truth, matches};

    use super::*;

    #[test]
    fn each_kind_has_its_colour_and_is_counted() {
        let sides = |x: f64| [x, 10.0, x + 20.0, 30.0];
        let truth = |class, x| Truth {
            class,
            bbox: sides(x),
            crowd: false,
        };
        let found = |class, x| Found {
            class,
            bbox: sides(x),
            score: 0.75,
        };
        let scene = Scene {
            truth: vec![truth(301, 0.0), truth(301, 30.0), truth(301, 60.0)],
            found: vec![found(301, 1.0), found(302, 60.0), found(301, 90.0)],
        };
        let found = matches(&scene, &Rule::default());
        let classes = BTreeMap::from([(301, "RBC".to_owned())]);
        let shown: Vec<_> = marks((120, 40), &scene, &found, &classes)
            .into_iter()
            .map(|it| (it.bbox.x1, it.color, it.label))
            .collect();
        let label = str::to_owned;
        assert_eq!(
            shown,
            [
                (1, HIT, String::new()),
                (30, MISS, label("RBC")),
                (90, FALSE_ALARM, label("RBC 0.75")),
                (60, WRONG_CLASS, label("302 is RBC")),
            ]
        );
        let words: Vec<_> = legend(&found).into_iter().map(|it| it.1).collect();
        assert_eq!(
            words,
            ["hits 1", "misses 1", "false alarms 1", "wrong class 1"]
        );
        let picture = drawn(RgbImage::new(120, 40), &scene, &found, &classes);
        assert!(picture.is_consistent() && picture.height > 40);
        assert_eq!(picture.pixel(1, 20), Some(HIT));
    }
}
