//! What a detector and its training may be asked for: every problem is named, not only the first.

use std::ops::RangeInclusive;

use cellmill_core::training::DetectorSettings;

use super::network_rules::{families, scale, weights, within};

const WIDTHS: RangeInclusive<u32> = 8..=512;
const SIDES: RangeInclusive<u32> = 64..=2048;
/// A picture is halved five times.
const MULTIPLE: u32 = 32;
const EPOCHS: RangeInclusive<u32> = 1..=1000;
const BATCH: RangeInclusive<u32> = 1..=256;

/// Adds what is wrong with the settings to the problems.
pub(super) fn check(it: &DetectorSettings, problems: &mut Vec<String>) {
    families("detector.family", &it.family, problems);
    scale("detector.scale", &it.scale, problems);
    within("detector.width", it.width, &WIDTHS, problems);
    within("detector.side", it.side, &SIDES, problems);
    if !it.side.is_multiple_of(MULTIPLE) {
        problems.push(format!(
            "`detector.side` is {}, it is a multiple of {MULTIPLE}",
            it.side
        ));
    }
    within("detector.epochs", it.epochs, &EPOCHS, problems);
    within("detector.batch", it.batch, &BATCH, problems);
    weights("detector", it.weights.as_deref(), it.body_rate, problems);
    let (zoom, rate) = (it.zoom.unwrap_or(1.0), it.learning_rate);
    let rules = [
        (
            "zoom",
            zoom,
            (0.01..=16.0).contains(&zoom),
            "from 0.01 to 16",
        ),
        (
            "learning_rate",
            rate,
            rate > 0.0 && rate <= 1.0,
            "above 0 and at most 1",
        ),
        (
            "weight_decay",
            it.weight_decay,
            (0.0..=1.0).contains(&it.weight_decay),
            "from 0 to 1",
        ),
        (
            "scale_jitter",
            it.scale_jitter,
            (0.0..=2.0).contains(&it.scale_jitter),
            "from 0 to 2",
        ),
        (
            "ema",
            it.ema,
            (0.0..1.0).contains(&it.ema),
            "from 0 to below 1",
        ),
    ];
    for (name, value, is_good, rule) in rules {
        if !is_good {
            problems.push(format!("`detector.{name}` is {value}, it is {rule}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_every_problem_is_named() {
        let mut problems = Vec::new();
        check(&DetectorSettings::default(), &mut problems);
        assert_eq!(problems, [""; 0]);
        let bad = DetectorSettings {
            family: "auto".to_owned(),
            scale: "huge".to_owned(),
            width: 1,
            zoom: Some(0.0),
            side: 100,
            gray: false,
            epochs: 0,
            batch: 0,
            learning_rate: f64::NAN,
            weight_decay: -1.0,
            augment: true,
            scale_jitter: 3.0,
            ema: 1.0,
            weights: Some("modules/classifier/1.safetensors".to_owned()),
            body_rate: Some(2.0),
        };
        check(&bad, &mut problems);
        assert_eq!(problems.len(), 13, "{problems:#?}");
    }
}
