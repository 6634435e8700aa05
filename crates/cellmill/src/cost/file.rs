//! Files of counts and prices: those of the program, or a person's own.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::cli::Error;

/// Reads a person's file, or else the one that the program brings.
pub(super) fn read<T: DeserializeOwned>(own: Option<&Path>, built_in: &str) -> Result<T, Error> {
    let Some(path) = own else {
        return Ok(serde_json::from_str(built_in).expect("tests read the files of the program"));
    };
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Malformed {
        path: path.to_owned(),
        source: source.into(),
    })
}
