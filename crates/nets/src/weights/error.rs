//! Why weights can't be used.

use super::Format;

/// What is wrong with a file of weights, or between it and a network.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("a weights file of {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error(
        "not a weights file: its first bytes are none of safetensors, a zip of torch.save, and HDF5\nhint: give a .safetensors, .pth, .pt, .bin or .h5 file"
    )]
    UnknownFormat,
    #[error(
        "a PyTorch file in the format from before version 1.6\nhint: load it in PyTorch and write `torch.save(weights, path)` again"
    )]
    OldTorch,
    #[error(
        "a Keras file, and this program was built without support for it\nhint: build it with the feature `keras`"
    )]
    NotInBuild,
    #[error("the {format} file is malformed: {reason}\nhint: fetch the file again")]
    Malformed { format: Format, reason: String },
    #[error("the {format} file has more than {limit} {what}")]
    TooMany {
        format: Format,
        what: &'static str,
        limit: usize,
    },
    #[error(
        "the {format} file holds no table of weights, it begins with {found}\nhint: write `torch.save(model.state_dict(), path)`, not the model itself"
    )]
    NoTable { format: Format, found: String },
    #[error(
        "the names in the file are not those of a known {network}; the first are {}\nhint: the sources that are known stand in the help of `--weights`", names.join(", ")
    )]
    UnknownNames {
        network: &'static str,
        names: Vec<String>,
    },
    #[error(
        "the file lacks {} of the {network}'s values: {}", names.len(), first(names)
    )]
    Missing {
        network: &'static str,
        /// What the source would call them.
        names: Vec<String>,
    },
    #[error(
        "tensor `{name}` is {given:?}, `{ours}` of this network is {expected:?}\nhint: weights fit the family and the scale that they were trained with, mostly `normal`"
    )]
    Shape {
        /// In the file.
        name: String,
        ours: String,
        given: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("tensor `{name}` holds a value that is not finite")]
    NotFinite { name: String },
    #[error("the network could not be read or changed")]
    Network(#[source] candle_core::Error),
}

/// The first few of many names.
fn first(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}
