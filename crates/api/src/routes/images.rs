//! Images: what is known of them, their bytes, their thumbnails.

use axum::extract::State;
use axum::response::Response;
use cellmill_core::ids::{BatchId, CaseId};
use cellmill_core::keys::{ImageKey, ImageRoot, ObjectKey, Prefix};
use cellmill_core::records::{Conflict, ImageRecord, ImageState, Rejection};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::documents;
use super::upload_plan::{FilePart, FileTree};
use crate::edge::{Disposition, Error, ErrorBody, Json, Page, PageQuery, Query, send_object};
use crate::parts::App;

/// What is known of an image.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// Its identity.
    #[schema(value_type = String)]
    pub key: ImageKey,
    /// The number derived from the key.
    pub imgid: u64,
    /// As its owner wrote it.
    pub name: String,
    #[schema(value_type = String)]
    pub batch: BatchId,
    #[schema(value_type = String)]
    pub case: CaseId,
    pub root: FileTree,
    /// `expected`, `ok`, `rejected` or `conflict`.
    #[schema(value_type = String)]
    pub state: ImageState,
    /// Upright width and height in pixels.
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: Option<String>,
    /// `jpeg`, `png`, `tiff`, `bmp`, `webp`, `gif`, by content.
    pub format: Option<String>,
    /// Remarks, such as that only the first frame counts.
    pub notes: Vec<String>,
    pub label_type: Option<String>,
    /// The part of a fixed split, chosen at upload.
    pub part: Option<FilePart>,
    /// Why it can't be used: `code` and `reason`.
    #[schema(value_type = Option<Object>)]
    pub rejection: Option<Rejection>,
    /// The other bytes that came under the same key.
    #[schema(value_type = Option<Object>)]
    pub conflict: Option<Conflict>,
    pub received_at: Option<DateTime<Utc>>,
    pub recorded_at: Option<DateTime<Utc>>,
}

impl From<ImageRecord> for ImageView {
    fn from(record: ImageRecord) -> Self {
        let picture = record.picture.as_ref();
        Self {
            name: record.shown_name(),
            imgid: record.imgid,
            batch: record.key.batch.clone(),
            case: record.key.case.clone(),
            root: record.key.root.into(),
            state: record.state,
            width: picture.map(|it| it.width),
            height: picture.map(|it| it.height),
            bytes: record.bytes,
            format: picture.map(|it| it.format.clone()),
            notes: picture.map(|it| it.notes.clone()).unwrap_or_default(),
            key: record.key,
            sha256: record.sha256,
            label_type: record.label_type,
            part: record.part.map(FilePart::from),
            rejection: record.rejection,
            conflict: record.conflict,
            received_at: record.received_at,
            recorded_at: record.recorded_at,
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImagesQuery {
    #[param(value_type = Option<String>)]
    batch: Option<BatchId>,
    /// Needs `batch`.
    #[param(value_type = Option<String>)]
    case: Option<CaseId>,
    root: Option<FileTree>,
    /// `expected`, `ok`, `rejected` or `conflict`.
    #[param(value_type = Option<String>)]
    state: Option<ImageState>,
}

impl ImagesQuery {
    fn prefixes(&self) -> Result<Vec<String>, Error> {
        let roots = ImageRoot::ALL
            .into_iter()
            .filter(|root| self.root.is_none_or(|it| ImageRoot::from(it) == *root));
        let prefix = |root| match (&self.batch, &self.case) {
            (None, None) => Ok(Prefix::ImageRecords(root)),
            (Some(batch), None) => Ok(Prefix::ImageRecordsOfBatch(root, batch.clone())),
            (Some(batch), Some(case)) => Ok(Prefix::ImageRecordsOfCase(
                root,
                batch.clone(),
                case.clone(),
            )),
            (None, Some(_)) => Err(Error::malformed("`case` is only taken with `batch`")),
        };
        roots.map(|root| Ok(prefix(root)?.to_path())).collect()
    }
}

/// Images in the order of their keys.
#[utoipa::path(get, path = "/api/v1/images", tag = "images", params(ImagesQuery, PageQuery),
    responses((status = 200, body = Page<ImageView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_images(
    State(app): State<App>,
    Query(query): Query<ImagesQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ImageView>>, Error> {
    let limit = page.limit()?;
    let after = page.after(|it| it.parse::<ImageKey>().ok())?;
    let after = after.map(|key| ObjectKey::ImageRecord(key).to_path());
    let is_record = |key: &ObjectKey| matches!(key, ObjectKey::ImageRecord(_));
    let records =
        documents::<ImageRecord, _>(&app.store, &query.prefixes()?, after.as_deref(), is_record);
    let wanted = |it: &ImageRecord| query.state.is_none_or(|state| it.state == state);
    let items: Vec<ImageView> = records
        .map_ok(|it| it.value)
        .try_filter(|it| std::future::ready(wanted(it)))
        .map_ok(ImageView::from)
        .take(limit + 1)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.key.to_path())))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImageQuery {
    /// The image's key, such as `img/17P0603/1904165A/Images/IMG001x008.JPG`.
    #[param(value_type = String)]
    pub(super) key: ImageKey,
}

pub(super) async fn read_record(app: &App, key: &ImageKey) -> Result<ImageRecord, Error> {
    let record = app.store.read(&ObjectKey::ImageRecord(key.clone())).await?;
    match record {
        Some(record) => Ok(record.value),
        None => Err(Error::not_found(format!("image `{key}`"))),
    }
}

/// One image.
#[utoipa::path(get, path = "/api/v1/image", tag = "images", params(ImageQuery),
    responses((status = 200, body = ImageView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_image(
    State(app): State<App>,
    Query(query): Query<ImageQuery>,
) -> Result<Json<ImageView>, Error> {
    Ok(Json(read_record(&app, &query.key).await?.into()))
}

/// The bytes as they were uploaded, whole or by range.
#[utoipa::path(get, path = "/api/v1/image/bytes", tag = "images", params(ImageQuery),
    responses(
        (status = 200, description = "The whole image", body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "The range asked for", body = [u8], content_type = "application/octet-stream"),
        (status = 303, description = "The address to GET at once, without the headers of this request"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn get_image_bytes(
    State(app): State<App>,
    Query(query): Query<ImageQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let record = read_record(&app, &query.key).await?;
    // Only what was checked may be shown as a picture.
    let picture = record.picture.filter(|_| record.state == ImageState::Ok);
    let content_type = picture.and_then(|it| content_type_of(&it.format));
    let disposition = match content_type {
        Some(_) => Disposition::Inline,
        None => Disposition::Attachment,
    };
    let key = ObjectKey::Image(query.key);
    let content_type = content_type.unwrap_or("application/octet-stream");
    send_object(&app, &key, content_type, disposition, &headers).await
}

fn content_type_of(format: &str) -> Option<&'static str> {
    Some(match format {
        "jpeg" => "image/jpeg",
        "png" => "image/png",
        "tiff" => "image/tiff",
        "bmp" => "image/bmp",
        "webp" => "image/webp",
        "gif" => "image/gif",
        _ => return None,
    })
}

/// A small JPEG of the image.
#[utoipa::path(get, path = "/api/v1/image/thumbnail", tag = "images", params(ImageQuery),
    responses(
        (status = 200, description = "The thumbnail", body = [u8], content_type = "image/jpeg"),
        (status = 303, description = "The address to GET at once, without the headers of this request"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn get_thumbnail(
    State(app): State<App>,
    Query(query): Query<ImageQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let record = read_record(&app, &query.key).await?;
    let Some(name) = record.picture.and_then(|it| it.thumbnail) else {
        return Err(Error::not_found(format!("thumbnail of `{}`", query.key)));
    };
    let key = ObjectKey::Cache(name);
    send_object(&app, &key, "image/jpeg", Disposition::Inline, &headers).await
}
