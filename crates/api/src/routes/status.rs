//! What became of uploaded files, for many keys at once.

use axum::extract::State;
use cellmill_core::keys::ObjectKey;
use cellmill_core::records::{ImageRecord, ImageState, PointsRecord, PointsState, Rejection};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::{READS_AT_ONCE, read_or_skip};
use crate::edge::{Error, ErrorBody, Json, JsonBody, Page};
use crate::parts::App;

const MAX_KEYS: usize = 1000;

/// Keys of images and CSVs, 1 to 1000 of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    pub keys: Vec<String>,
}

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyStatus {
    pub key: String,
    pub state: KeyState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Nothing was decided about the bytes that lie there now, or there are none.
    Unknown,
    /// An image that was announced.
    Expected,
    /// A good image.
    Ok,
    /// An image or a CSV that can't be used.
    Rejected,
    /// Other bytes came under an image's key.
    Conflict,
    /// A CSV whose good rows are in the label.
    Applied,
    /// A CSV whose image is not here yet.
    Waiting,
}

/// What became of images and CSVs, in the order asked.
#[utoipa::path(post, path = "/api/v1/status", tag = "uploads", request_body = StatusRequest,
    responses((status = 200, body = Page<KeyStatus>), (status = "default", body = ErrorBody)))]
pub(crate) async fn status(
    State(app): State<App>,
    JsonBody(request): JsonBody<StatusRequest>,
) -> Result<Json<Page<KeyStatus>>, Error> {
    let n_keys = request.keys.len();
    if n_keys == 0 || n_keys > MAX_KEYS {
        return Err(Error::malformed(format!(
            "`keys` holds 1 to {MAX_KEYS} keys, not {n_keys}"
        )));
    }
    let keys = request
        .keys
        .into_iter()
        .map(|text| match ObjectKey::parse(&text) {
            Ok(Some(key @ (ObjectKey::Image(_) | ObjectKey::Points(_)))) => Ok(key),
            _ => Err(Error::malformed(format!(
                "`{}` is no key of an image or a CSV",
                cellmill_core::ids::shown(&text)
            ))),
        });
    let keys: Vec<ObjectKey> = keys.collect::<Result<_, _>>()?;
    let items = stream::iter(keys)
        .map(|key| status_of(&app, key))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Json(Page { items, next: None }))
}

async fn status_of(app: &App, key: ObjectKey) -> Result<KeyStatus, Error> {
    let etag = app.store.head(&key).await?.map(|it| it.etag);
    let (state, rejection) = match &key {
        ObjectKey::Image(image) => {
            let record = ObjectKey::ImageRecord(image.clone());
            let record = read_or_skip::<ImageRecord>(&app.store, &record).await?;
            record.map_or((KeyState::Unknown, None), |it| {
                of_image(it.value, etag.as_deref())
            })
        }
        ObjectKey::Points(points) => {
            let record = ObjectKey::PointsRecord(points.clone());
            let record = read_or_skip::<PointsRecord>(&app.store, &record).await?;
            record.map_or((KeyState::Unknown, None), |it| {
                of_points(it.value, etag.as_deref())
            })
        }
        _ => (KeyState::Unknown, None),
    };
    Ok(KeyStatus {
        key: key.to_path(),
        state,
        code: rejection.as_ref().map(|it| it.code.clone()),
        reason: rejection.map(|it| it.reason),
    })
}

/// `etag`: of the bytes that lie there now.
fn of_image(record: ImageRecord, etag: Option<&str>) -> (KeyState, Option<Rejection>) {
    if record.state == ImageState::Expected {
        return (KeyState::Expected, None);
    }
    if !record.speaks_of(etag) {
        return (KeyState::Unknown, None);
    }
    match record.state {
        ImageState::Expected => (KeyState::Expected, None),
        ImageState::Ok => (KeyState::Ok, None),
        ImageState::Rejected => (KeyState::Rejected, record.rejection),
        ImageState::Conflict => {
            let rejection = Rejection {
                code: "conflict".to_owned(),
                reason: "other bytes came under the key of a known image".to_owned(),
            };
            (KeyState::Conflict, Some(rejection))
        }
    }
}

fn of_points(record: PointsRecord, etag: Option<&str>) -> (KeyState, Option<Rejection>) {
    if record.etag.as_deref() != etag {
        return (KeyState::Unknown, None);
    }
    match record.state {
        PointsState::Applied => (KeyState::Applied, None),
        PointsState::Waiting => (KeyState::Waiting, None),
        PointsState::Rejected => (KeyState::Rejected, record.rejection),
    }
}
