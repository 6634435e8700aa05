//! The safetensors format.

use super::super::foreign::{MAX_ARRAYS, MAX_VALUES};
use super::super::{Array, Foreign, Format, WeightsError};
use super::numbers::Kind;
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// All arrays of floats; counters and the like are no weights and left out.
pub(crate) fn safetensors(bytes: &[u8]) -> Result<Foreign, WeightsError> {
    let format = Format::Safetensors;
    let malformed = |it: safetensors::SafeTensorError| WeightsError::Malformed {
        format,
        reason: it.to_string(),
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let too_many = |what, limit| WeightsError::TooMany {
        format,
        what,
        limit,
    };
    if file.len() > MAX_ARRAYS {
        return Err(too_many("tensors", MAX_ARRAYS));
    }
    let mut arrays = BTreeMap::new();
    let mut n_values = 0;
    for (name, view) in file.tensors() {
        let kind = match view.dtype() {
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::BF16,
            Dtype::F32 => Kind::F32,
            Dtype::F64 => Kind::F64,
            _ => continue,
        };
        n_values += view.data().len() / kind.size();
        if n_values > MAX_VALUES {
            return Err(too_many("values", MAX_VALUES));
        }
        let array = Array {
            shape: view.shape().to_vec(),
            values: kind.values(view.data()),
        };
        arrays.insert(name, array);
    }
    let mut foreign = Foreign::new(format, arrays);
    let table = metadata.metadata().as_ref();
    foreign.description = table.and_then(|it| it.get(crate::state::METADATA).cloned());
    Ok(foreign)
}
