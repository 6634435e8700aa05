//! Keras's files: their layouts, the order of axes and colours, and what differs in batch normalisation.
#![cfg(feature = "keras")]
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

use candle_core::{Device, Tensor};
use cellmill_nets::layers::{Layer, Pass};
use cellmill_nets::models::{Architecture, Network, UNet};
use cellmill_nets::weights::{self, Format, WeightsError};
use cellmill_nets::{Family, Scale};
use hdf5_pure::{FileBuilder, FinishedGroup, GroupBuilder};
use serde::Deserialize;
use std::collections::BTreeMap;

const CPU: Device = Device::Cpu;

/// A file that h5py wrote, see `tests/peers/weights_golden.py`: convolutions have biases, layers are numbered, their
/// order is not that of their names, and the optimiser's moments stand beside them.
#[test]
fn a_unet_of_keras_answers_as_there() {
    #[derive(Deserialize)]
    struct Golden {
        base: usize,
        classes: usize,
        shape: [usize; 4],
        x: Vec<f32>,
        y: Vec<f32>,
    }
    let all: serde_json::Value = serde_json::from_str(include_str!("golden/weights.json")).unwrap();
    let golden: Golden = serde_json::from_value(all["unet"].clone()).unwrap();
    let foreign = weights::read(include_bytes!("golden/unet.h5")).unwrap();
    assert_eq!(foreign.format(), Format::Keras);
    let unet = |depth| UNet {
        base: golden.base,
        depth,
        n_classes: golden.classes,
    };
    let mut network = unet(1).build(0, &CPU).unwrap();
    let report = weights::load_into_unet(&mut network, &foreign).unwrap();
    assert!(report.fresh.is_empty(), "{report:?}");
    let x = Tensor::from_slice(&golden.x, &golden.shape, &CPU).unwrap();
    let y = network.infer(x, &mut Pass::new(&CPU, 0)).unwrap();
    let found: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
    let largest = golden.y.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (found, expected) in found.iter().zip(&golden.y) {
        assert!(
            (found - expected).abs() < 1e-5 * largest,
            "{found} {expected}"
        );
    }

    let error = weights::load_into_unet(&mut unet(2).build(0, &CPU).unwrap(), &foreign);
    let error = error.unwrap_err();
    let names_it = matches!(
        error,
        WeightsError::Missing { .. } | WeightsError::Shape { .. }
    );
    assert!(names_it, "{error}");
}

fn vgg(seed: u64) -> Network {
    let it = Architecture {
        family: Family::Vgg11,
        scale: Scale::Small,
        side: 16,
        n_classes: 2,
        features: 4,
    };
    it.build(0.0, seed, &CPU).unwrap()
}

/// How a version of Keras names a value.
type Path = fn(&str, bool) -> String;

/// The first versions, weights alone; the second, weights alone; the second, a whole model.
const LAYOUTS: [Path; 3] = [
    |layer, is_kernel| format!("{layer}/{layer}_{}_1:0", if is_kernel { 'W' } else { 'b' }),
    |layer, is_kernel| {
        format!(
            "{layer}/{layer}/{}:0",
            if is_kernel { "kernel" } else { "bias" }
        )
    },
    |layer, is_kernel| {
        let value = if is_kernel { "kernel" } else { "bias" };
        format!("model_weights/{layer}/{layer}/{value}:0")
    },
];

#[test]
fn a_vgg_of_keras_is_read_in_every_layout_with_its_colours_turned() {
    let mut first = vgg(1);
    let x = Tensor::randn(0.0_f32, 1.0, (1, 16, 16, 3), &CPU).unwrap();
    let mut pass = Pass::new(&CPU, 0);
    let expected = first.pooled(x.copy().unwrap(), &mut pass).unwrap();
    let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
    for path in LAYOUTS {
        let mut arrays = Arrays::new();
        first
            .visit(&mut |name, slot| {
                let Some((stage, rest)) = name
                    .strip_prefix("stages.")
                    .and_then(|it| it.split_once('.'))
                else {
                    return Ok(());
                };
                let at: usize = rest.split_once('.').unwrap().0.parse().unwrap();
                let layer = format!(
                    "block{}_conv{}",
                    stage.parse::<usize>().unwrap() + 1,
                    at + 1
                );
                let mut value = slot.value().copy()?;
                let is_kernel = value.rank() == 4;
                if is_kernel {
                    if name == "stages.0.0.weight" {
                        let swapped = Tensor::from_slice(&[2_u32, 1, 0], 3, &CPU)?;
                        value = value.index_select(&swapped, 1)?;
                    }
                    value = value.permute((2, 3, 1, 0))?.contiguous()?;
                }
                let shape: Vec<u64> = value.dims().iter().map(|it| *it as u64).collect();
                let values: Vec<f32> = value.flatten_all()?.to_vec1()?;
                arrays.insert(path(&layer, is_kernel), (shape, values));
                Ok(())
            })
            .unwrap();
        // What stands above the convolutions.
        arrays.insert(path("fc1", true), (vec![4, 2], vec![0.5; 8]));
        let foreign = weights::read(&file(&arrays)).unwrap();
        let mut second = vgg(2);
        let report = weights::load_into(&mut second, &foreign, Family::Vgg11).unwrap();
        assert_eq!(report.unused, ["fc1.kernel"]);
        assert_eq!(report.loaded.len(), 16);
        let found = second.pooled(x.copy().unwrap(), &mut pass).unwrap();
        let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(found, expected);
    }
}

/// Shapes and values by path.
type Arrays = BTreeMap<String, (Vec<u64>, Vec<f32>)>;

fn file(arrays: &Arrays) -> Vec<u8> {
    let mut file = FileBuilder::new();
    for name in groups(arrays, "") {
        let group = file.create_group(&name);
        file.add_group(filled(group, arrays, &format!("{name}/")));
    }
    file.finish().unwrap()
}

/// Names of the groups directly within this one, whose path ends with a slash or is empty.
fn groups(arrays: &Arrays, within: &str) -> Vec<String> {
    let inner = arrays
        .keys()
        .filter_map(|it| it.strip_prefix(within)?.split_once('/'));
    let mut names: Vec<String> = inner.map(|it| it.0.to_owned()).collect();
    names.dedup();
    names
}

fn filled(mut group: GroupBuilder, arrays: &Arrays, within: &str) -> FinishedGroup {
    for (path, (shape, values)) in arrays {
        if let Some(name) = path.strip_prefix(within).filter(|it| !it.contains('/')) {
            group
                .create_dataset(name)
                .with_f32_data(values)
                .with_shape(shape);
        }
    }
    for name in groups(arrays, within) {
        let inner = group.create_group(&name);
        group.add_group(filled(inner, arrays, &format!("{within}{name}/")));
    }
    group.finish()
}
