//! The documented files of a data set or a project, by name.

use axum::extract::State;
use axum::response::Response;
use cellmill_core::ids::Dir;
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey, Prefix, ProjectFile};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{jobs, projects};
use crate::edge::{Disposition, Error, ErrorBody, Json, Page, PageQuery, Path, Query, send_object};
use crate::parts::App;

/// A file of a data set or a project.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// Below the directory: `cellslist.csv`, `packs/00000-0123456789abcdef.zip`, `curves.png`.
    pub name: String,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
}

/// Whose files they are.
enum Owner {
    Dataset(Dir),
    Project(Dir),
}

impl Owner {
    fn prefix(&self) -> String {
        match self {
            Self::Dataset(dir) => Prefix::Dataset(dir.clone()).to_path(),
            Self::Project(dir) => format!("{}{dir}/", Prefix::Projects.to_path()),
        }
    }

    /// The key of a documented file; anything else has none.
    fn file_key(&self, name: &str) -> Option<ObjectKey> {
        let path = format!("{}{name}", self.prefix());
        let key = ObjectKey::parse(&path).ok().flatten()?;
        let is_ours = match self {
            Self::Dataset(_) => matches!(key, ObjectKey::Dataset(..)),
            Self::Project(_) => matches!(key, ObjectKey::Project(..)),
        };
        is_ours.then_some(key)
    }
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
    jobs::read_job(&app, JobKind::Data, &dir).await?;
    listed(&app, &Owner::Dataset(dir), &page).await
}

/// The files that are there: tables, figures and the pictures of the cells.
#[utoipa::path(get, path = "/api/v1/projects/{dir}/files", tag = "projects",
    params(("dir" = String, Path), PageQuery),
    responses((status = 200, body = Page<FileView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_project_files(
    State(app): State<App>,
    Path(dir): Path<Dir>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<FileView>>, Error> {
    projects::read_project(&app, &dir).await?;
    listed(&app, &Owner::Project(dir), &page).await
}

async fn listed(app: &App, owner: &Owner, page: &PageQuery) -> Result<Json<Page<FileView>>, Error> {
    let limit = page.limit()?;
    let prefix = owner.prefix();
    let after = page.after(|name| owner.file_key(name))?;
    let listed = match after {
        Some(after) => app.store.list_from(&prefix, &after.to_path()),
        None => app.store.list(&prefix),
    };
    let items: Vec<FileView> = listed
        .try_filter_map(|it| {
            let name = it.key.strip_prefix(&prefix).map(str::to_owned);
            let name = name.filter(|name| owner.file_key(name).is_some());
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

/// One file, whole or by range.
#[utoipa::path(get, path = "/api/v1/datasets/{dir}/files/{*path}", tag = "data sets",
    params(("dir" = String, Path), ("path" = String, Path, description = "A name that the list of files gives")),
    responses(
        (status = 200, description = "The whole file", body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "The range asked for", body = [u8], content_type = "application/octet-stream"),
        (status = 303, description = "The address to GET at once, without the headers of this request"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn get_file(
    State(app): State<App>,
    Path((dir, path)): Path<(Dir, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    send(&app, &Owner::Dataset(dir), &path, &headers).await
}

/// One file, whole or by range.
#[utoipa::path(get, path = "/api/v1/projects/{dir}/files/{*path}", tag = "projects",
    params(("dir" = String, Path), ("path" = String, Path, description = "A name that the list of files gives")),
    responses(
        (status = 200, description = "The whole file", body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "The range asked for", body = [u8], content_type = "application/octet-stream"),
        (status = 303, description = "The address to GET at once, without the headers of this request"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn get_project_file(
    State(app): State<App>,
    Path((dir, path)): Path<(Dir, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    send(&app, &Owner::Project(dir), &path, &headers).await
}

async fn send(
    app: &App,
    owner: &Owner,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let key = owner.file_key(name);
    let Some((content_type, key)) = key.and_then(|key| Some((content_type_of(&key)?, key))) else {
        return Err(Error::not_found(match owner {
            Owner::Dataset(_) => "a data set's file of this name",
            Owner::Project(_) => "a project's file of this name",
        }));
    };
    // What we made ourselves may be shown in a page; it is sandboxed all the same.
    let disposition = match content_type {
        PNG => Disposition::Inline,
        _ => Disposition::Attachment,
    };
    send_object(app, &key, content_type, disposition, headers).await
}

const JSON: &str = "application/json";
const CSV: &str = "text/csv; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const PNG: &str = "image/png";
const ZIP: &str = "application/zip";

fn content_type_of(key: &ObjectKey) -> Option<&'static str> {
    match key {
        ObjectKey::Dataset(_, file) => Some(match file {
            DatasetFile::Info
            | DatasetFile::Info2
            | DatasetFile::Job
            | DatasetFile::Snapshot
            | DatasetFile::Input { .. }
            | DatasetFile::Packs => JSON,
            DatasetFile::FileList | DatasetFile::CellsList { .. } => CSV,
            DatasetFile::Log => TEXT,
            DatasetFile::Pack(_) => ZIP,
        }),
        ObjectKey::Project(_, file) => Some(match file {
            ProjectFile::Info
            | ProjectFile::Lists
            | ProjectFile::Model
            | ProjectFile::Predict2 { .. }
            | ProjectFile::Job(_)
            | ProjectFile::Input { .. }
            | ProjectFile::Detections
            | ProjectFile::Trace
            | ProjectFile::Review { .. } => JSON,
            ProjectFile::Labels(_) | ProjectFile::Split => CSV,
            ProjectFile::Log => TEXT,
            ProjectFile::Cell { .. } | ProjectFile::Curves | ProjectFile::Confusion => PNG,
        }),
        _ => None,
    }
}
