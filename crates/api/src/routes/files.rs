//! The documented files of a data set, by name.

use axum::extract::State;
use axum::response::Response;
use cellmill_core::ids::Dir;
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey, Prefix};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::jobs;
use crate::edge::{Disposition, Error, ErrorBody, Json, Page, PageQuery, Path, Query, send_object};
use crate::parts::App;

/// A file of a data set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// Below the data set's directory: `cellslist.csv`, `packs/00000-0123456789abcdef.zip`.
    pub name: String,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
}

/// The files that are there.
#[utoipa::path(get, path = "/api/v1/datasets/{dir}/files", tag = "data sets",
    params(("dir" = String, Path), PageQuery),
    responses((status = 200, body = Page<FileView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_files(
    State(app): State<App>,
    Path(dir): Path<Dir>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<FileView>>, Error> {
    let limit = page.limit()?;
    jobs::read_job(&app, JobKind::Data, &dir).await?;
    let prefix = Prefix::Dataset(dir).to_path();
    let after = page.after(|name| file_key(&prefix, name))?;
    let listed = match after {
        Some(after) => app.store.list_from(&prefix, &after.to_path()),
        None => app.store.list(&prefix),
    };
    let items: Vec<FileView> = listed
        .try_filter_map(|it| {
            let name = it.key.strip_prefix(&prefix).map(str::to_owned);
            let name = name.filter(|name| file_key(&prefix, name).is_some());
            std::future::ready(Ok(name.map(|name| FileView {
                name,
                bytes: it.size,
                modified: it.last_modified,
            })))
        })
        .take(limit + 1)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.name.clone())))
}

/// The key of a documented file; anything else has none.
fn file_key(prefix: &str, name: &str) -> Option<ObjectKey> {
    let key = ObjectKey::parse(&format!("{prefix}{name}"))
        .ok()
        .flatten()?;
    matches!(key, ObjectKey::Dataset(..)).then_some(key)
}

/// One file, whole or by range.
#[utoipa::path(get, path = "/api/v1/datasets/{dir}/files/{*path}", tag = "data sets",
    params(("dir" = String, Path), ("path" = String, Path, description = "A name that the list of files gives")),
    responses(
        (status = 200, description = "The whole file", body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "The range asked for", body = [u8], content_type = "application/octet-stream"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn get_file(
    State(app): State<App>,
    Path((dir, path)): Path<(Dir, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let prefix = Prefix::Dataset(dir).to_path();
    let key = file_key(&prefix, &path);
    let Some((content_type, key)) = key.and_then(|key| Some((content_type_of(&key)?, key))) else {
        return Err(Error::not_found("a data set's file of this name"));
    };
    send_object(
        &app.store,
        &key,
        content_type,
        Disposition::Attachment,
        &headers,
    )
    .await
}

fn content_type_of(key: &ObjectKey) -> Option<&'static str> {
    let ObjectKey::Dataset(_, file) = key else {
        return None;
    };
    Some(match file {
        DatasetFile::Info
        | DatasetFile::Info2
        | DatasetFile::Job
        | DatasetFile::Snapshot
        | DatasetFile::Input { .. }
        | DatasetFile::Packs => "application/json",
        DatasetFile::FileList | DatasetFile::CellsList { .. } => "text/csv; charset=utf-8",
        DatasetFile::Log => "text/plain; charset=utf-8",
        DatasetFile::Pack(_) => "application/zip",
    })
}
