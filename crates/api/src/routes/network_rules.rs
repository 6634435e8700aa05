//! What a network and its training may be asked for: every problem is named, not only the first.

use std::ops::RangeInclusive;

use cellmill_core::keys::ObjectKey;
use cellmill_core::training::NetworkSettings;

const FAMILIES: [&str; 6] = [
    "mobilenet",
    "efficientnet_lite0",
    "resnet18",
    "resnet34",
    "vgg11",
    "vgg16",
];
/// Instead of a family: several are tried.
const AUTO: &str = "auto";
const SCALES: [&str; 3] = ["small", "normal", "big"];
const CLASS_WEIGHTS: [&str; 3] = ["none", "balanced", "square_root"];
const FEATURES: RangeInclusive<u32> = 8..=4096;
const EPOCHS: RangeInclusive<u32> = 1..=1000;
const BATCH: RangeInclusive<u32> = 2..=1024;

/// Sides of a network's input that serve cells, in pixels.
pub(super) const SIDES: RangeInclusive<u32> = 16..=512;

/// Adds what is wrong with the settings to the problems.
pub(super) fn check(settings: &NetworkSettings, problems: &mut Vec<String>) {
    let it = settings;
    if it.family != AUTO {
        one_of("network.family", &it.family, &FAMILIES, problems);
    }
    one_of("network.scale", &it.scale, &SCALES, problems);
    one_of(
        "network.class_weights",
        &it.class_weights,
        &CLASS_WEIGHTS,
        problems,
    );
    within("network.features", it.features, &FEATURES, problems);
    within("network.epochs", it.epochs, &EPOCHS, problems);
    within("network.batch", it.batch, &BATCH, problems);
    weights("network", it.weights.as_deref(), it.body_rate, problems);
    if let Some(patience) = it.patience {
        within("network.patience", patience, &EPOCHS, problems);
    }
    let rate = it.learning_rate.unwrap_or(1.0);
    let ema = it.ema.unwrap_or(0.9);
    let rules = [
        (
            "network.ema",
            ema,
            (0.5..1.0).contains(&ema),
            "from 0.5 to below 1",
        ),
        (
            "network.mixup",
            it.mixup,
            (0.0..=2.0).contains(&it.mixup),
            "from 0 to 2",
        ),
        (
            "network.learning_rate",
            rate,
            rate > 0.0 && rate <= 1.0,
            "above 0 and at most 1",
        ),
        (
            "network.weight_decay",
            it.weight_decay,
            (0.0..=1.0).contains(&it.weight_decay),
            "from 0 to 1",
        ),
        (
            "network.warm_up_epochs",
            it.warm_up_epochs,
            (0.0..=100.0).contains(&it.warm_up_epochs),
            "from 0 to 100",
        ),
        (
            "network.label_smoothing",
            it.label_smoothing,
            (0.0..0.5).contains(&it.label_smoothing),
            "from 0 to below 0.5",
        ),
        (
            "network.dropout",
            it.dropout,
            (0.0..0.95).contains(&it.dropout),
            "from 0 to below 0.95",
        ),
    ];
    for (name, value, is_good, rule) in rules {
        if !is_good {
            problems.push(format!("`{name}` is {value}, it is {rule}"));
        }
    }
}

/// The key of weights to begin with, and how fast they move.
pub(super) fn weights(
    whose: &str,
    key: Option<&str>,
    body_rate: Option<f64>,
    problems: &mut Vec<String>,
) {
    if body_rate.is_some() && key.is_none() {
        problems.push(format!("`{whose}.body_rate` goes with `{whose}.weights`"));
    }
    if let Some(rate) = body_rate.filter(|it| !(0.0..=1.0).contains(it)) {
        problems.push(format!("`{whose}.body_rate` is {rate}, it is from 0 to 1"));
    }
    if let Some(key) = key
        && !matches!(ObjectKey::parse(key), Ok(Some(ObjectKey::Weights(_))))
    {
        let key = cellmill_core::ids::shown(key);
        problems.push(format!(
            "`{whose}.weights` is `{key}`, it is `modules/weights/<sha256>.<ending>`"
        ));
    }
}

pub(super) fn within(
    name: &str,
    value: u32,
    range: &RangeInclusive<u32>,
    problems: &mut Vec<String>,
) {
    if !range.contains(&value) {
        let (low, high) = (range.start(), range.end());
        problems.push(format!("`{name}` is {value}, it goes from {low} to {high}"));
    }
}

pub(super) fn families(name: &str, family: &str, problems: &mut Vec<String>) {
    one_of(name, family, &FAMILIES, problems);
}

pub(super) fn scale(name: &str, scale: &str, problems: &mut Vec<String>) {
    one_of(name, scale, &SCALES, problems);
}

pub(super) fn features(value: u32, problems: &mut Vec<String>) {
    within("features", value, &FEATURES, problems);
}

fn one_of(name: &str, value: &str, known: &[&str], problems: &mut Vec<String>) {
    if !known.contains(&value) {
        let value = cellmill_core::ids::shown(value);
        let known = known.join("`, `");
        problems.push(format!("`{name}` is `{value}`, it is `{known}`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_every_problem_is_named() {
        let mut problems = Vec::new();
        check(&NetworkSettings::default(), &mut problems);
        assert_eq!(problems, [""; 0]);
        let bad = NetworkSettings {
            family: "resnet".to_owned(),
            scale: "huge".to_owned(),
            features: 0,
            gray: false,
            epochs: 0,
            batch: 1,
            learning_rate: Some(f64::NAN),
            weight_decay: -1.0,
            warm_up_epochs: -1.0,
            label_smoothing: 0.5,
            class_weights: "some".to_owned(),
            augment: true,
            dropout: 1.0,
            patience: Some(0),
            ema: Some(1.0),
            mixup: 3.0,
            weights: Some("modules/classifier/1.safetensors".to_owned()),
            body_rate: Some(2.0),
        };
        check(&bad, &mut problems);
        assert_eq!(problems.len(), 16, "{problems:#?}");
    }
}
