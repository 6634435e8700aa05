//! Files of the root that the demo reads: the documented ones.

use std::path::{Path, PathBuf};

use cellmill_core::formats::{CellsList, CellsListRow, PredictResult};
use cellmill_core::ids::Dir;
use cellmill_core::keys::{DatasetFile, ObjectKey, ProjectFile};
use cellmill_core::snapshot::Snapshot;

use crate::cli::Error;

/// Where a key lies.
pub(super) fn path(root: &Path, key: &ObjectKey) -> PathBuf {
    root.join(key.to_path())
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(Error::file("read", path))
}

fn malformed<E>(path: &Path) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = path.to_owned();
    move |source| Error::Malformed {
        path,
        source: source.into(),
    }
}

/// The rows of a data set's cellslist.csv.
pub(super) fn cells(root: &Path, dir: &Dir) -> Result<Vec<CellsListRow>, Error> {
    let key = ObjectKey::Dataset(dir.clone(), DatasetFile::CellsList { part: 0 });
    let path = path(root, &key);
    let bytes = read(&path)?;
    let rows = CellsList::new(&bytes[..]).and_then(Iterator::collect);
    rows.map_err(malformed(&path))
}

pub(super) fn snapshot(root: &Path, dir: &Dir) -> Result<Snapshot, Error> {
    let path = path(
        root,
        &ObjectKey::Dataset(dir.clone(), DatasetFile::Snapshot),
    );
    serde_json::from_slice(&read(&path)?).map_err(malformed(&path))
}

pub(super) fn predictions(root: &Path, dir: &Dir) -> Result<PredictResult, Error> {
    let key = ObjectKey::Project(dir.clone(), ProjectFile::Predict2 { part: 0 });
    let path = path(root, &key);
    serde_json::from_slice(&read(&path)?).map_err(malformed(&path))
}
