//! Weights of other programs: their files are read right, land in the right places, and are refused with a reason
//! where they do not fit. `tests/peers/weights_golden.py` made the files.
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

mod support;

use candle_core::{Device, Tensor};
use cellmill_nets::layers::Pass;
use cellmill_nets::models::{Architecture, Network};
use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::weights::{self, Array, Foreign, Format, WeightsError};
use cellmill_nets::{
    Device as Setting, Family, Normalisation, Samples, Scale, TrainOptions, Trainer,
};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::Deserialize;
use std::collections::BTreeMap;
use support::Values;

const CPU: Device = Device::Cpu;

type Arrays = BTreeMap<String, Array>;

fn architecture(family: Family, scale: Scale, side: usize) -> Architecture {
    Architecture {
        family,
        scale,
        side,
        n_classes: 3,
        features: 8,
    }
}

fn network(it: &Architecture, seed: u64) -> Network {
    it.build(0.0, seed, &CPU).unwrap()
}

/// All values of a network, drawn anew: statistics too, so that each of them matters.
fn drawn(network: &mut Network) -> Arrays {
    let mut rng = Rng::new(9, Purpose::Synthetic, [0, 0]);
    let mut out = Arrays::new();
    network
        .visit(&mut |name, slot| {
            let shape = slot.value().dims().to_vec();
            let n: usize = shape.iter().product();
            let inputs: usize = shape.iter().skip(1).product();
            let one = |rng: &mut Rng| {
                if name.ends_with("running_var") || (shape.len() == 1 && name.ends_with("weight")) {
                    0.5 + rng.normal().abs()
                } else {
                    rng.normal() * (2.0 / inputs as f64).sqrt().min(0.5)
                }
            };
            let values = (0..n).map(|_| one(&mut rng) as f32).collect();
            out.insert(name.to_owned(), Array { shape, values });
            Ok(())
        })
        .unwrap();
    out
}

fn set(network: &mut Network, values: &Arrays) {
    network
        .visit(&mut |name, slot| {
            let it = &values[name];
            let tensor = Tensor::from_slice(&it.values, it.shape.as_slice(), &CPU)?;
            match slot {
                cellmill_nets::layers::Slot::Parameter(slot) => slot.value = tensor,
                cellmill_nets::layers::Slot::Statistic(slot) => *slot = tensor,
            }
            Ok(())
        })
        .unwrap();
}

fn file(arrays: &Arrays) -> Vec<u8> {
    let bytes: Vec<_> = arrays
        .iter()
        .map(|(name, it)| {
            let bytes: Vec<u8> = it.values.iter().flat_map(|it| it.to_le_bytes()).collect();
            (name, &it.shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    serialize(views, None).unwrap()
}

fn foreign(arrays: &Arrays) -> Foreign {
    weights::read(&file(arrays)).unwrap()
}

fn pooled(network: &mut Network, side: usize) -> Vec<f32> {
    let values = Values::drawn(
        &[2, side, side, 3],
        &mut Rng::new(4, Purpose::Synthetic, [0, 0]),
    );
    let mut pass = Pass::new(&CPU, 0);
    let y = network.pooled(values.tensor(), &mut pass).unwrap();
    y.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_pytorch_file_gives_what_pytorch_saved() {
    let all: serde_json::Value = serde_json::from_str(include_str!("golden/weights.json")).unwrap();
    let expected: BTreeMap<String, (Vec<usize>, Vec<f32>)> =
        serde_json::from_value(all["torch"].clone()).unwrap();
    let found = weights::read(include_bytes!("golden/weights.pth")).unwrap();
    assert_eq!(found.format(), Format::Torch);
    assert_eq!(found.arrays().len(), expected.len(), "{:?}", found.arrays());
    for (name, (shape, values)) in expected {
        let it = &found.arrays()[&name];
        assert_eq!((&it.shape, &it.values), (&shape, &values), "{name}");
    }
    assert_eq!(found.fingerprint().len(), 64);
}

#[test]
fn a_damaged_pytorch_file_is_an_error_and_no_panic() {
    let whole = include_bytes!("golden/weights.pth");
    for end in (0..whole.len()).step_by(7) {
        assert!(weights::read(&whole[..end]).is_err(), "{end}");
    }
    let mut rng = Rng::new(3, Purpose::Synthetic, [0, 0]);
    for _ in 0..2000 {
        let mut bytes = whole.to_vec();
        for _ in 0..3 {
            let at = rng.below(bytes.len());
            bytes[at] = rng.below(256) as u8;
        }
        // Whether it can still be read depends on the byte; it comes back either way.
        let _ = weights::read(&bytes);
    }
}

#[test]
fn a_body_of_every_source_lands_in_its_places() {
    let cases = [
        (
            Family::EfficientNetLite0,
            "efficientnet-lite-pytorch",
            vec![
                ("stem.0.weight", "_conv_stem.weight"),
                (
                    "blocks.0.depthwise.0.weight",
                    "_blocks.0._depthwise_conv.weight",
                ),
                ("blocks.0.project.1.bias", "_blocks.0._bn2.bias"),
                ("blocks.3.expand.0.weight", "_blocks.3._expand_conv.weight"),
                (
                    "blocks.3.expand.1.running_mean",
                    "_blocks.3._bn0.running_mean",
                ),
                (
                    "blocks.15.depthwise.1.running_var",
                    "_blocks.15._bn1.running_var",
                ),
                ("head.0.weight", "_conv_head.weight"),
                ("head.1.weight", "_bn1.weight"),
            ],
        ),
        (
            Family::ResNet18,
            "torchvision",
            vec![
                ("stem.0.weight", "conv1.weight"),
                ("stem.1.bias", "bn1.bias"),
                ("stages.0.1.second.0.weight", "layer1.1.conv2.weight"),
                ("stages.3.0.first.1.running_var", "layer4.0.bn1.running_var"),
                (
                    "stages.2.0.shortcut.0.weight",
                    "layer3.0.downsample.0.weight",
                ),
                (
                    "stages.2.0.shortcut.1.weight",
                    "layer3.0.downsample.1.weight",
                ),
            ],
        ),
        (
            Family::Vgg11,
            "torchvision",
            vec![
                ("stages.0.0.weight", "features.0.weight"),
                ("stages.1.0.bias", "features.3.bias"),
                ("stages.2.1.weight", "features.8.weight"),
                ("stages.4.1.bias", "features.18.bias"),
            ],
        ),
        (
            Family::MobileNet,
            "cellmill",
            vec![("stem.0.weight", "stem.0.weight")],
        ),
    ];
    for (family, source, names) in cases {
        let it = architecture(family, Scale::Small, 20);
        let mut first = network(&it, 1);
        let values = drawn(&mut first);
        set(&mut first, &values);
        let mut classifier = classifier_of(&it, &values);
        let exported = weights::read(&weights::export(&mut classifier).unwrap()).unwrap();
        for (ours, theirs) in names {
            assert_eq!(
                exported.arrays()[theirs],
                values[ours],
                "{family:?} {theirs}"
            );
        }

        let mut second = network(&it, 2);
        let report = weights::load_into(&mut second, &exported, family).unwrap();
        assert_eq!(report.source, source);
        assert!(
            report
                .fresh
                .iter()
                .all(|it| it.starts_with("features.") || it.starts_with("classes."))
        );
        assert_eq!(
            pooled(&mut second, 20),
            pooled(&mut first, 20),
            "{family:?}"
        );
    }
}

/// A classifier with these values, through a model file.
fn classifier_of(it: &Architecture, values: &Arrays) -> cellmill_nets::Classifier {
    let normalisation = Normalisation {
        mean: [0.25; 3],
        deviation: [0.5; 3],
    };
    let spec = serde_json::json!({
        "v": 1, "architecture": it, "gray": false, "normalisation": normalisation,
    });
    let metadata = std::collections::HashMap::from([("cellmill".to_owned(), spec.to_string())]);
    let bytes: Vec<_> = values
        .iter()
        .map(|(name, it)| {
            let bytes: Vec<u8> = it.values.iter().flat_map(|it| it.to_le_bytes()).collect();
            (name, &it.shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let file = serialize(views, Some(metadata)).unwrap();
    cellmill_nets::Classifier::from_bytes(&file, &Setting::Cpu.open().unwrap()).unwrap()
}

#[test]
fn an_own_model_brings_its_head_where_it_fits_and_its_normalisation() {
    let it = architecture(Family::MobileNet, Scale::Small, 16);
    let values = drawn(&mut network(&it, 1));
    let bytes = classifier_of(&it, &values).to_bytes().unwrap();
    let foreign = weights::read(&bytes).unwrap();
    let report = weights::load_into(&mut network(&it, 2), &foreign, it.family).unwrap();
    assert_eq!(
        (report.fresh.len(), report.unused.len()),
        (0, 0),
        "{report:?}"
    );
    assert!((report.normalisation.unwrap().mean[0] - 0.25).abs() < 1e-9);
    let other = Architecture { n_classes: 5, ..it };
    let report = weights::load_into(&mut network(&other, 2), &foreign, it.family).unwrap();
    assert_eq!(report.fresh, ["classes.weight", "classes.bias"]);
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_changes_nothing() {
    let it = architecture(Family::ResNet18, Scale::Small, 20);
    let all = drawn(&mut network(&it, 1));
    let mut second = network(&it, 2);
    let before = pooled(&mut second, 20);
    let mut load =
        |arrays: &Arrays| weights::load_into(&mut second, &foreign(arrays), it.family).unwrap_err();

    let mut some = all.clone();
    some.remove("stages.1.0.first.0.weight").unwrap();
    some.remove("stem.1.bias").unwrap();
    let error = load(&some);
    assert!(
        matches!(&error, WeightsError::Missing { names, .. } if names.len() == 2),
        "{error}"
    );
    assert!(
        error.to_string().contains("stages.1.0.first.0.weight"),
        "{error}"
    );

    let mut wrong = all.clone();
    wrong.get_mut("stem.0.weight").unwrap().shape = vec![3, 32, 7, 7];
    let text = load(&wrong).to_string();
    assert!(
        text.contains("[3, 32, 7, 7]") && text.contains("[32, 3, 7, 7]"),
        "{text}"
    );

    let mut bad = all.clone();
    bad.get_mut("stem.1.bias").unwrap().values[3] = f32::NAN;
    assert!(matches!(load(&bad), WeightsError::NotFinite { name } if name == "stem.1.bias"));

    let other = Arrays::from([("encoder.layer.0".to_owned(), all["stem.1.bias"].clone())]);
    let text = load(&other).to_string();
    assert!(
        text.contains("encoder.layer.0") && text.contains("resnet18"),
        "{text}"
    );
    assert_eq!(pooled(&mut second, 20), before);
}

/// The published weights say what they say elsewhere. Runs where `CELLMILL_TEST_DATA` names the folder that has
/// `weights/efficientnet-lite0.safetensors`.
#[test]
fn efficientnet_lite0_answers_as_its_recipe() {
    #[derive(Deserialize)]
    struct Golden {
        side: usize,
        pictures: Vec<Picture>,
    }
    #[derive(Deserialize)]
    struct Picture {
        number: usize,
        features: Vec<f32>,
        classes: Vec<usize>,
        logits: Vec<f32>,
    }
    let Some(data) = std::env::var_os("CELLMILL_TEST_DATA") else {
        return;
    };
    let path = std::path::Path::new(&data).join("weights/efficientnet-lite0.safetensors");
    let foreign = weights::read(&std::fs::read(path).unwrap()).unwrap();
    let golden: Golden =
        serde_json::from_str(include_str!("golden/efficientnet_lite0.json")).unwrap();
    let side = golden.side;
    let mut network = network(
        &architecture(Family::EfficientNetLite0, Scale::Normal, side),
        0,
    );
    let report = weights::load_into(&mut network, &foreign, Family::EfficientNetLite0).unwrap();
    assert_eq!(report.unused, ["_fc.bias", "_fc.weight"]);
    let normalisation = report.normalisation.unwrap();
    let (weight, bias) = (
        &foreign.arrays()["_fc.weight"],
        &foreign.arrays()["_fc.bias"],
    );
    let mut pass = Pass::new(&CPU, 0);
    for picture in golden.pictures {
        let mut pixels = Vec::new();
        for at in 0..side * side * 3 {
            let (c, x, y) = (at % 3, at / 3 % side, at / 3 / side);
            let k = picture.number;
            let byte = (k * y + (c + 1) * x + ((x * y) >> (4 + k))) % 256;
            pixels.push((byte as f32 / 255.0 - normalisation.mean[c]) / normalisation.deviation[c]);
        }
        let x = Tensor::from_vec(pixels, (1, side, side, 3), &CPU).unwrap();
        let y = network.pooled(x, &mut pass).unwrap();
        let features: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        for (found, expected) in features.iter().step_by(20).zip(&picture.features) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        let logit = |class: usize| -> f32 {
            let row = &weight.values[class * features.len()..][..features.len()];
            row.iter().zip(&features).map(|(a, b)| a * b).sum::<f32>() + bias.values[class]
        };
        for (class, expected) in picture.classes.iter().zip(&picture.logits) {
            assert!((logit(*class) - expected).abs() < 1e-3, "class {class}");
        }
        let largest = (0..bias.values.len()).max_by(|a, b| logit(*a).total_cmp(&logit(*b)));
        assert_eq!(largest, Some(picture.classes[0]));
    }
}

#[test]
fn a_training_begins_with_weights_and_goes_on_to_the_same_bits() {
    let it = architecture(Family::EfficientNetLite0, Scale::Small, 16);
    let foreign = foreign(&drawn(&mut network(&it, 1)));
    let mut samples = Samples::new(16);
    for at in 0..24 {
        let mut rng = Rng::new(8, Purpose::Synthetic, [at, 0]);
        let pixels: Vec<u8> = (0..16 * 16 * 3).map(|_| rng.below(200) as u8).collect();
        samples.push(&pixels, at as usize % 3).unwrap();
    }
    let cpu = Setting::Cpu.open().unwrap();
    let options = TrainOptions {
        family: it.family,
        side: 16,
        n_classes: 3,
        features: 8,
        epochs: 4,
        batch: 8,
        body_rate: 0.1,
        head_epochs: 2,
        ..TrainOptions::default()
    };
    let options = options.with_weights(&foreign).unwrap();
    assert_eq!(options.pretrained.as_deref(), Some(foreign.fingerprint()));
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    let start = || {
        let none = Samples::new(16);
        Trainer::with_weights(options.clone(), samples.clone(), none, &cpu, &foreign).unwrap()
    };
    let mut whole = start();
    let mut parts = start();
    for epoch in 1..=4 {
        whole.epoch(go_on).unwrap().unwrap();
        parts.epoch(go_on).unwrap().unwrap();
        let checkpoint = parts.checkpoint().unwrap();
        let none = Samples::new(16);
        parts = Trainer::resume(options.clone(), samples.clone(), none, &cpu, &checkpoint).unwrap();
        assert_eq!(parts.epochs_done(), epoch);
    }
    let mut whole = whole.finish().unwrap();
    assert_eq!(whole.spec().pretrained, options.pretrained);
    let bytes = whole.to_bytes().unwrap();
    assert_eq!(parts.finish().unwrap().to_bytes().unwrap(), bytes);

    let twisted = TrainOptions {
        pretrained: Some("0".repeat(64)),
        ..options
    };
    let none = Samples::new(16);
    assert!(Trainer::with_weights(twisted, samples, none, &cpu, &foreign).is_err());
}
