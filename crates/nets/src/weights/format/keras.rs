//! Keras's HDF5 files: weights alone, or a model with its weights.

use super::super::foreign::{MAX_ARRAYS, MAX_VALUES};
use super::super::{Array, Foreign, Format, WeightsError};
use hdf5_pure::{AttrValue, File, Group};
use std::collections::BTreeMap;

/// Groups within groups; Keras's own files have four.
const MAX_DEPTH: usize = 8;
/// Where a file of a whole model keeps its weights.
const WEIGHTS: &str = "model_weights";
const ORDER: &str = "layer_names";

/// The arrays as `layer.value`, their axes in `PyTorch`'s order.
pub(crate) fn keras(bytes: &[u8]) -> Result<Foreign, WeightsError> {
    let file = File::from_bytes(bytes.to_vec()).map_err(|it| malformed(it.to_string()))?;
    let root = file.root();
    let weights = root.group(WEIGHTS).unwrap_or(root);
    let mut reader = Reader {
        arrays: BTreeMap::new(),
        n_values: 0,
    };
    reader.walk(&weights, &mut Vec::new())?;
    let mut foreign = Foreign::new(Format::Keras, reader.arrays);
    let attributes = weights.attrs().map_err(|it| malformed(it.to_string()))?;
    foreign.order = attributes.get(ORDER).map(texts).unwrap_or_default();
    Ok(foreign)
}

fn malformed(reason: impl Into<String>) -> WeightsError {
    WeightsError::Malformed {
        format: Format::Keras,
        reason: reason.into(),
    }
}

const fn too_many(what: &'static str, limit: usize) -> WeightsError {
    WeightsError::TooMany {
        format: Format::Keras,
        what,
        limit,
    }
}

struct Reader {
    arrays: BTreeMap<String, Array>,
    n_values: usize,
}

impl Reader {
    fn walk(&mut self, group: &Group, path: &mut Vec<String>) -> Result<(), WeightsError> {
        if path.len() > MAX_DEPTH {
            return Err(too_many("levels of groups", MAX_DEPTH));
        }
        for name in group.datasets().map_err(|it| malformed(it.to_string()))? {
            let Some(key) = key(path, &name) else {
                continue;
            };
            let data = group
                .dataset(&name)
                .map_err(|it| malformed(it.to_string()))?;
            let shape = data.shape().map_err(|it| malformed(it.to_string()))?;
            let count = shape
                .iter()
                .try_fold(1_u64, |product, it| product.checked_mul(*it));
            let count = count.and_then(|it| usize::try_from(it).ok());
            self.n_values = self.n_values.saturating_add(count.unwrap_or(usize::MAX));
            if self.n_values > MAX_VALUES {
                return Err(too_many("values", MAX_VALUES));
            }
            if self.arrays.len() == MAX_ARRAYS {
                return Err(too_many("tensors", MAX_ARRAYS));
            }
            let shape: Vec<usize> = shape.into_iter().map(|it| it as usize).collect();
            let values = data.read_f32().map_err(|it| malformed(it.to_string()))?;
            if Some(values.len()) != count {
                return Err(malformed(format!("`{key}` does not fill its shape")));
            }
            let array = turned(Array { shape, values }, key.ends_with("depthwise_kernel"));
            self.arrays.insert(key, array);
        }
        for name in group.groups().map_err(|it| malformed(it.to_string()))? {
            // Beside the layers there are the optimiser's moments.
            if name.starts_with("optimizer") || name == "top_level_model_weights" {
                continue;
            }
            let inner = group.group(&name).map_err(|it| malformed(it.to_string()))?;
            path.push(name);
            self.walk(&inner, path)?;
            path.pop();
        }
        Ok(())
    }
}

/// `layer.value` of a dataset; none where it is no weight.
///
/// Keras 2 has `layer/layer/kernel:0`, its first versions `layer/layer_W_1:0`, Keras 3 `layers/layer/vars/0`.
fn key(path: &[String], name: &str) -> Option<String> {
    let outer = path.iter().find(|it| *it != "layers")?;
    let name = name.split_once(':').map_or(name, |it| it.0);
    let is_numbered = path.last().is_some_and(|it| it == "vars");
    let value = if is_numbered {
        let normalises = outer.contains("normalization");
        match (name, normalises) {
            ("0", false) => "kernel",
            ("1", false) => "bias",
            ("0", true) => "gamma",
            ("1", true) => "beta",
            ("2", true) => "moving_mean",
            ("3", true) => "moving_variance",
            _ => return None,
        }
    } else {
        match name {
            "kernel" | "depthwise_kernel" | "bias" | "gamma" | "beta" | "moving_mean"
            | "moving_variance" => name,
            _ if name.ends_with("_W_1") || name.ends_with("_W") => "kernel",
            _ if name.ends_with("_b_1") || name.ends_with("_b") => "bias",
            _ => return None,
        }
    };
    Some(format!("{outer}.{value}"))
}

/// Kernels are height, width, inputs, outputs there, and matrices are inputs, outputs; transposed convolutions are
/// height, width, outputs, inputs, and end as inputs, outputs: the same turn.
fn turned(it: Array, depthwise: bool) -> Array {
    let order: &[usize] = match (it.shape.len(), depthwise) {
        (4, false) => &[3, 2, 0, 1],
        (4, true) => &[2, 3, 0, 1],
        (2, _) => &[1, 0],
        _ => return it,
    };
    let mut strides = vec![1; order.len()];
    for axis in (1..order.len()).rev() {
        strides[axis - 1] = strides[axis] * it.shape[axis];
    }
    let shape: Vec<usize> = order.iter().map(|axis| it.shape[*axis]).collect();
    let value = |mut at: usize| {
        let mut place = 0;
        for (axis, side) in order.iter().zip(&shape).rev() {
            place += at % side * strides[*axis];
            at /= side;
        }
        it.values[place]
    };
    let values = (0..it.values.len()).map(value).collect();
    Array { shape, values }
}

fn texts(it: &AttrValue) -> Vec<String> {
    match it {
        AttrValue::StringArray(it)
        | AttrValue::AsciiStringArray(it)
        | AttrValue::VarLenStringArray(it)
        | AttrValue::VarLenAsciiStringArray(it)
        | AttrValue::VarLenAsciiCharArray(it) => it.clone(),
        AttrValue::StringArraySized { values, .. }
        | AttrValue::AsciiStringArraySized { values, .. } => values.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_turned_into_the_order_here() {
        let it = Array {
            shape: vec![1, 2, 3, 4],
            values: (0..24).map(|it| it as f32).collect(),
        };
        let found = turned(it, false);
        assert_eq!(found.shape, [4, 3, 1, 2]);
        // Output 1, input 2, column 1.
        assert_eq!(
            found.values[(3 + 2) * 2 + 1].to_bits(),
            (12.0_f32 + 8.0 + 1.0).to_bits()
        );
    }

    #[test]
    fn values_are_named_alike_in_all_versions() {
        let path = |it: &str| it.split('/').map(str::to_owned).collect::<Vec<_>>();
        for (at, name, expected) in [
            (
                "block1_conv1/block1_conv1",
                "kernel:0",
                Some("block1_conv1.kernel"),
            ),
            (
                "block1_conv1",
                "block1_conv1_b_1:0",
                Some("block1_conv1.bias"),
            ),
            ("layers/conv2d_3/vars", "1", Some("conv2d_3.bias")),
            (
                "layers/batch_normalization/vars",
                "3",
                Some("batch_normalization.moving_variance"),
            ),
            ("layers/dropout/seed_generator/vars", "7", None),
        ] {
            assert_eq!(key(&path(at), name).as_deref(), expected);
        }
    }
}
