//! Keras: layers have no fixed names there, so they are taken in the order of the model. Shapes tell when two
//! models are not alike.
//!
//! Kernels were turned into `PyTorch`'s order of axes when the file was read. What else differs is set right here:
//! VGG's weights want blue first, and Keras's batch normalisation adds 1e-3 to variances where ours adds 1e-5.

use super::super::{Array, Foreign};
use crate::samples::Normalisation;
use std::collections::BTreeMap;

/// Keras's VGG subtracts the means of `ImageNet` from bytes and divides by nothing; here red first.
pub(crate) const VGG: Normalisation = Normalisation {
    mean: [123.68 / 255.0, 116.779 / 255.0, 103.939 / 255.0],
    deviation: [1.0 / 255.0; 3],
};
/// Programs for segmentation mostly divide bytes by 255.
pub(crate) const UNET: Normalisation = Normalisation {
    mean: [0.0; 3],
    deviation: [1.0; 3],
};

/// What is added to a variance there, more than here.
const MORE_EPSILON: f32 = 1e-3 - 1e-5;

/// The arrays under our names, each with what it is called in the file. `blue_first` tells that the first kernel
/// wants its pictures so.
pub(crate) fn arrange(
    foreign: &Foreign,
    ours: &[(String, Vec<usize>)],
    blue_first: bool,
) -> BTreeMap<String, (String, Array)> {
    let layers = layers(foreign);
    let get = |layer: &str, value: &str| foreign.arrays.get(&format!("{layer}.{value}"));
    let kernel = |it: &&&str| get(it, "kernel").filter(|it| it.shape.len() == 4);
    let is_up = |it: &str, kernel: &Array| it.contains("transpose") || kernel.shape[3] == 2;
    let kernels = layers.iter().filter_map(|it| Some((*it, kernel(&it)?)));
    let (ups, convolutions): (Vec<_>, Vec<_>) = kernels.partition(|it| is_up(it.0, it.1));
    let (mut ups, mut convolutions) = (ups.into_iter(), convolutions.into_iter());
    let mut norms = layers.iter().filter(|it| get(it, "moving_mean").is_some());

    let mut out = BTreeMap::new();
    // The layer that values are taken from now; none where the file has no more of its kind.
    let mut layer = None;
    // The bias of a convolution that has none here: the normalisation behind it takes it in.
    let mut carried: Option<&Array> = None;
    for (name, shape) in ours {
        let (place, value) = name.rsplit_once('.').unwrap_or(("", name));
        let plain = |value: f32| Array {
            shape: shape.clone(),
            values: vec![value; shape.iter().product()],
        };
        let or = |layer: Option<&str>, value: &str, otherwise: f32| {
            let found = layer.and_then(|it| get(it, value)).cloned();
            (value.to_owned(), found.unwrap_or_else(|| plain(otherwise)))
        };
        let (theirs, array) = match (value, shape.len()) {
            ("weight", 4) => {
                let stream = if place.ends_with("up") {
                    &mut ups
                } else {
                    &mut convolutions
                };
                let next = stream.next();
                layer = next.map(|it| it.0);
                let Some((layer, kernel)) = next else {
                    continue;
                };
                carried = get(layer, "bias");
                let mut kernel = kernel.clone();
                if blue_first && out.is_empty() {
                    swap_inputs(&mut kernel);
                }
                ("kernel".to_owned(), kernel)
            }
            ("weight", _) => {
                layer = norms.next().copied();
                or(layer, "gamma", 1.0)
            }
            ("bias", _) if layer.is_some_and(|it| get(it, "kernel").is_some()) => {
                carried = None;
                or(layer, "bias", 0.0)
            }
            ("bias", _) => or(layer, "beta", 0.0),
            ("running_mean", _) => {
                let (theirs, mut mean) = or(layer, "moving_mean", 0.0);
                if let Some(bias) = carried.take() {
                    for (mean, bias) in mean.values.iter_mut().zip(&bias.values) {
                        *mean -= bias;
                    }
                }
                (theirs, mean)
            }
            ("running_var", _) => {
                let (theirs, mut variance) = or(layer, "moving_variance", 1.0);
                for it in &mut variance.values {
                    *it += MORE_EPSILON;
                }
                (theirs, variance)
            }
            _ => continue,
        };
        if let Some(layer) = layer {
            out.insert(name.clone(), (format!("{layer}.{theirs}"), array));
        }
    }
    out
}

/// Red and blue of a kernel's inputs change places.
fn swap_inputs(kernel: &mut Array) {
    if kernel.shape[1] != 3 {
        return;
    }
    let one = kernel.shape[2] * kernel.shape[3];
    for inputs in kernel.values.chunks_exact_mut(3 * one) {
        let (red, rest) = inputs.split_at_mut(one);
        red.swap_with_slice(&mut rest[one..]);
    }
}

/// Names of layers in the order of the model: as the file tells, or by the numbers that Keras puts behind names.
fn layers(foreign: &Foreign) -> Vec<&str> {
    let mut names: Vec<&str> = foreign
        .arrays
        .keys()
        .filter_map(|it| Some(it.rsplit_once('.')?.0))
        .collect();
    names.dedup();
    let told = |name: &str| foreign.order.iter().position(|it| it == name);
    names.sort_by_key(|it| (told(it).unwrap_or(usize::MAX), pieces(it)));
    names
}

/// Text and numbers of a name in turn, so that `conv2d_10` comes after `conv2d_9`.
fn pieces(name: &str) -> Vec<(&str, u64)> {
    let mut out = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest
            .find(|it: char| it.is_ascii_digit())
            .unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        let end = after
            .find(|it: char| !it.is_ascii_digit())
            .unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        // A name without a number is the first of its kind.
        out.push((text, number.parse().unwrap_or(0)));
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = [
            "conv2d_10",
            "conv2d",
            "conv2d_9",
            "block2_conv1",
            "block1_conv2",
        ];
        names.sort_by_key(|it| pieces(it));
        assert_eq!(
            names,
            [
                "block1_conv2",
                "block2_conv1",
                "conv2d",
                "conv2d_9",
                "conv2d_10"
            ]
        );
    }

    #[test]
    fn red_and_blue_change_places() {
        let mut kernel = Array {
            shape: vec![2, 3, 1, 2],
            values: (0..12).map(|it| it as f32).collect(),
        };
        swap_inputs(&mut kernel);
        let expected = [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7];
        assert_eq!(kernel.values, expected.map(|it: i32| it as f32));
    }
}
