//! Every key of the bucket, built and parsed in this module only (DESIGN 3).
//!
//! Law: `ObjectKey::parse(&key.to_path()) == Ok(Some(key))`. Numbers are padded with zeros so that the
//! order of a listing is their order.

mod object;
mod prefix;
#[cfg(test)]
mod tests;

pub use object::{
    CsvKey, DatasetFile, ImageKey, ImageRoot, JobKind, KeyError, ModelKey, ModelKind, NumberKind,
    ObjectKey, PackName, ProjectFile, ProjectFolder, StemKey, UnitKey, WeightsKey,
};
pub use prefix::Prefix;
