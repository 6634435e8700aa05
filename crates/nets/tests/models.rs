//! The families with fresh weights: what they answer at every side and scale, and how many weights they have.
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

use candle_core::{DType, Device, Tensor};
use cellmill_nets::layers::{Layer, Pass, Slot};
use cellmill_nets::models::{Architecture, UNet};
use cellmill_nets::{Family, Scale};

const CPU: Device = Device::Cpu;

fn architecture(family: Family, scale: Scale, side: usize) -> Architecture {
    Architecture {
        family,
        scale,
        side,
        n_classes: 5,
        features: 24,
    }
}

/// Infers one picture of noise, and trains on two if told.
fn answers(it: &Architecture, trains: bool) {
    let what = format!("{it:?}");
    let mut network = it.build(0.1, 3, &CPU).unwrap();
    let mut pass = Pass::new(&CPU, 3);
    let x = |n| Tensor::randn(0.0_f32, 1.0, (n, it.side, it.side, 3), &CPU).unwrap();
    let output = network.infer(x(1), &mut pass).unwrap();
    assert_eq!(output.features.dims(), [1, 24], "{what}");
    assert_eq!(output.logits.dims(), [1, 5], "{what}");
    let logits: Vec<f32> = output.logits.flatten_all().unwrap().to_vec1().unwrap();
    assert!(logits.iter().all(|it| it.is_finite()), "{what}: {logits:?}");
    if trains {
        let logits = network.forward(x(2), &mut pass).unwrap();
        assert_eq!(logits.dims(), [2, 5], "{what}");
        let values: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
        // Fresh weights keep the size of what they are given: nothing vanishes, nothing explodes.
        let is_alive = values.iter().any(|it| it.abs() > 1e-2);
        assert!(
            is_alive && values.iter().all(|it| it.abs() < 30.0),
            "{what}: {values:?}"
        );
        let dy = Tensor::ones((2, 5), DType::F32, &CPU).unwrap();
        network.backward(dy, &mut pass).unwrap();
    }
}

#[test]
fn every_family_answers_at_every_side() {
    for family in Family::ALL {
        for side in [16, 33, 64, 100, 224] {
            answers(&architecture(family, Scale::Small, side), side < 64);
        }
    }
}

#[test]
fn every_family_answers_at_every_scale() {
    for family in Family::ALL {
        for scale in [Scale::Normal, Scale::Big] {
            answers(&architecture(family, scale, 20), false);
        }
    }
}

/// Learned values of the layers whose names begin with none of `without`.
fn count(network: &mut dyn Layer, without: &[&str]) -> usize {
    let mut sum = 0;
    network
        .visit("", &mut |name, slot| {
            if let Slot::Parameter(it) = slot
                && !without.iter().any(|it| name.starts_with(it))
            {
                sum += it.value.elem_count();
            }
            Ok(())
        })
        .unwrap();
    sum
}

/// The published counts, without their layers of classes (VGG: without its three linear layers).
#[test]
fn bodies_have_as_many_weights_as_the_papers() {
    let expected = [
        (Family::MobileNet, 3_206_976),
        (Family::EfficientNetLite0, 3_371_008),
        (Family::ResNet18, 11_176_512),
        (Family::ResNet34, 21_284_672),
        (Family::Vgg11, 9_220_480),
        (Family::Vgg16, 14_714_688),
    ];
    for (family, expected) in expected {
        let it = architecture(family, Scale::Normal, 224);
        let mut network = it.build(0.0, 0, &CPU).unwrap();
        let found = count(&mut network, &["features.", "classes."]);
        assert_eq!(found, expected, "{}", family.name());
    }
    let mut unet = UNet::default().build(0, &CPU).unwrap();
    assert_eq!(count(&mut unet, &[]), 1_942_594);
}

#[test]
fn a_unet_answers_at_every_pixel() {
    let unet = UNet {
        base: 4,
        depth: 3,
        n_classes: 3,
    };
    let mut network = unet.build(1, &CPU).unwrap();
    let mut pass = Pass::new(&CPU, 0);
    let x = Tensor::randn(0.0_f32, 1.0, (2, 24, 40, 3), &CPU).unwrap();
    let y = network.infer(x, &mut pass).unwrap();
    assert_eq!(y.dims(), [2, 24, 40, 3]);
}

#[test]
fn names_in_settings_are_those_of_the_families() {
    for family in Family::ALL {
        let written = serde_json::to_value(family).unwrap();
        assert_eq!(written, family.name());
    }
}
