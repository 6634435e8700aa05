//! The named values of a network, outside of it: copied, put back, written to bytes and read from them.

use crate::layers::values::{read, write};
use crate::layers::{Layer, Slot};
use candle_core::Error as CandleError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};

/// Values with their shapes, by name.
pub(crate) type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The one key of a file's metadata. More than one would be written in random order.
pub(crate) const METADATA: &str = "cellmill";

/// Larger files are refused unread; the largest network of this crate has 30 MB.
const MAX_BYTES: usize = 1 << 30;

/// Why bytes are no network.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("a model of {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("not a safetensors file, or a cut one: {reason}\nhint: upload the file again")]
    Malformed { reason: String },
    #[error(
        "the file has no readable `cellmill` description: {reason}\nhint: only files that Cellmill wrote can be loaded"
    )]
    Description { reason: String },
    #[error("the file's description can't be: {}", problems.join("; "))]
    Impossible { problems: Vec<String> },
    #[error("tensor `{name}` is missing")]
    Missing { name: String },
    #[error("tensor `{name}` is {given}, the network needs {expected}")]
    Shape {
        name: String,
        given: String,
        expected: String,
    },
    #[error("tensor `{name}` belongs to no part of the network")]
    Unknown { name: String },
    #[error("tensor `{name}` holds a value that is not finite")]
    NotFinite { name: String },
    #[error("the network could not be set up or read")]
    Network(#[source] CandleError),
}

/// All values of a network, parameters and statistics.
pub(crate) fn values_of(network: &mut dyn Layer) -> Result<Named, CandleError> {
    let mut out = Named::new();
    network.visit("", &mut |name, slot| {
        let value = slot.value();
        out.insert(
            name.to_owned(),
            (value.dims().to_vec(), read(value)?.to_vec()),
        );
        Ok(())
    })?;
    Ok(out)
}

/// Puts values back that came from a network of the same shape.
pub(crate) fn restore(network: &mut dyn Layer, values: &Named) -> Result<(), CandleError> {
    network.visit("", &mut |name, slot| {
        let (_, values) = &values[name];
        write(slot.value(), |it| it.copy_from_slice(values))
    })
}

/// Names and shapes of the network's parameters, in the order of its visit.
pub(crate) fn parameters_of(
    network: &mut dyn Layer,
) -> Result<Vec<(String, Vec<usize>)>, CandleError> {
    let mut out = Vec::new();
    network.visit("", &mut |name, slot| {
        if let Slot::Parameter(it) = slot {
            out.push((name.to_owned(), it.value.dims().to_vec()));
        }
        Ok(())
    })?;
    Ok(out)
}

/// The bytes of a safetensors file; equal values give equal bytes.
pub(crate) fn to_bytes(values: &Named, description: String) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = values
        .iter()
        .map(|(name, (shape, values))| {
            (
                name,
                shape,
                values.iter().flat_map(|it| it.to_le_bytes()).collect(),
            )
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view =
            TensorView::new(Dtype::F32, (*shape).clone(), bytes).expect("a value fills its shape");
        (name.as_str(), view)
    });
    let metadata = HashMap::from([(METADATA.to_owned(), description)]);
    serialize(views, Some(metadata)).expect("names and shapes came from a network")
}

/// A safetensors file whose header was checked, and its description.
pub(crate) fn parse(bytes: &[u8]) -> Result<(SafeTensors<'_>, String), FileError> {
    if bytes.len() > MAX_BYTES {
        return Err(FileError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_BYTES,
        });
    }
    let malformed = |it: safetensors::SafeTensorError| FileError::Malformed {
        reason: it.to_string(),
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let description = metadata.metadata().as_ref().and_then(|it| it.get(METADATA));
    let description = description.ok_or_else(|| FileError::Description {
        reason: "it is missing".to_owned(),
    })?;
    Ok((tensors, description.clone()))
}

/// The values of one tensor, checked against what is expected of it.
pub(crate) fn tensor(
    file: &SafeTensors<'_>,
    name: &str,
    expected: &[usize],
) -> Result<Vec<f32>, FileError> {
    let view = file.tensor(name).map_err(|_| FileError::Missing {
        name: name.to_owned(),
    })?;
    if view.dtype() != Dtype::F32 || view.shape() != expected {
        return Err(FileError::Shape {
            name: name.to_owned(),
            given: format!("{:?} {:?}", view.dtype(), view.shape()),
            expected: format!("F32 {expected:?}"),
        });
    }
    let values: Vec<f32> = view
        .data()
        .chunks_exact(4)
        .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
        .collect();
    if values.iter().all(|it| it.is_finite()) {
        Ok(values)
    } else {
        Err(FileError::NotFinite {
            name: name.to_owned(),
        })
    }
}

/// Refuses a file that holds more than these.
pub(crate) fn only(file: &SafeTensors<'_>, values: &Named) -> Result<(), FileError> {
    let names = file.names();
    match names.into_iter().find(|it| !values.contains_key(*it)) {
        None => Ok(()),
        Some(name) => Err(FileError::Unknown {
            name: name.to_owned(),
        }),
    }
}

/// All values that the network has, from the tensors named `prefix` + name.
pub(crate) fn named(
    file: &SafeTensors<'_>,
    network: &mut dyn Layer,
    prefix: &str,
) -> Result<Named, FileError> {
    let mut shapes = Vec::new();
    network
        .visit("", &mut |name, slot| {
            shapes.push((name.to_owned(), slot.value().dims().to_vec()));
            Ok(())
        })
        .map_err(FileError::Network)?;
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = tensor(file, &format!("{prefix}{name}"), &shape)?;
            Ok((name, (shape, values)))
        })
        .collect()
}
