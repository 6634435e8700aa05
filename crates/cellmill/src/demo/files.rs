//! Files of data sets and projects that the demo reads, as anybody reads them: through the server.

use cellmill_core::formats::{CellsList, CellsListRow, PredictResult};
use cellmill_core::ids::Dir;
use cellmill_core::keys::{DatasetFile, ObjectKey, ProjectFile};
use cellmill_core::snapshot::Snapshot;

use crate::cli::Error;
use crate::client::Client;

fn malformed<E>(key: &str) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = key.into();
    move |source| Error::Malformed {
        path,
        source: source.into(),
    }
}

/// The bytes of a documented file of a data set or a project, and its key.
pub(super) async fn read(client: &Client, key: &ObjectKey) -> Result<(Vec<u8>, String), Error> {
    let path = key.to_path();
    let bytes = match key {
        ObjectKey::Dataset(dir, _) => client.dataset_file(dir.as_str(), below(&path)).await?,
        ObjectKey::Project(dir, _) => client.project_file(dir.as_str(), below(&path)).await?,
        _ => client.image_bytes(&path).await?,
    };
    Ok((bytes, path))
}

/// The name below `datasets/<dir>/` or `projects/<dir>/`.
fn below(path: &str) -> &str {
    path.splitn(3, '/').nth(2).unwrap_or_default()
}

/// The rows of a data set's cellslist.csv.
pub(super) async fn cells(client: &Client, dir: &Dir) -> Result<Vec<CellsListRow>, Error> {
    let key = ObjectKey::Dataset(dir.clone(), DatasetFile::CellsList { part: 0 });
    let (bytes, path) = read(client, &key).await?;
    let rows = CellsList::new(&bytes[..]).and_then(Iterator::collect);
    rows.map_err(malformed(&path))
}

pub(super) async fn snapshot(client: &Client, dir: &Dir) -> Result<Snapshot, Error> {
    let key = ObjectKey::Dataset(dir.clone(), DatasetFile::Snapshot);
    let (bytes, path) = read(client, &key).await?;
    serde_json::from_slice(&bytes).map_err(malformed(&path))
}

pub(super) async fn predictions(client: &Client, dir: &Dir) -> Result<PredictResult, Error> {
    let key = ObjectKey::Project(dir.clone(), ProjectFile::Predict2 { part: 0 });
    let (bytes, path) = read(client, &key).await?;
    serde_json::from_slice(&bytes).map_err(malformed(&path))
}
