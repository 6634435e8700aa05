//! Weights from elsewhere that trainings begin with: stored once, under the hash of their bytes.

use axum::body::Body;
use axum::extract::State;
use cellmill_core::ids::shown;
use cellmill_core::keys::{ObjectKey, WeightsKey};
use cellmill_store::uploads::{Received, Sha256Hex, SignedUpload, UploadGrant, receive};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::uploads::{StoredUpload, UploadAnswer, UploadStatus};
use crate::audit;
use crate::edge::{Error, ErrorBody, Json, JsonBody, Path};
use crate::parts::App;
use crate::person::Person;

/// Where the bytes go, where the api takes them itself.
pub(crate) const WEIGHTS_FILE_PATH: &str = "/api/v1/weights/{file}";

const CONTENT_TYPE: &str = "application/octet-stream";
/// The largest file, 1 GiB: VGG-16 with all its layers has 553 MB.
const MAX_BYTES: u64 = 1 << 30;

/// A file of weights that is to be sent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWeights {
    pub sha256: String,
    /// At most 1 GiB.
    pub bytes: u64,
    /// `safetensors`, `pt`, `pth`, `bin` or `h5`.
    pub ending: String,
}

impl NewWeights {
    fn key(&self) -> Result<WeightsKey, Error> {
        check_size(self.bytes)?;
        let key = WeightsKey::new(&self.sha256, &self.ending);
        key.ok_or_else(|| {
            let endings = WeightsKey::ENDINGS.join("`, `");
            Error::refused(
                "bad_parameter",
                format!(
                    "`sha256` has 64 hex digits in lower case, `ending` is `{endings}`, not `{}`",
                    shown(&self.ending)
                ),
            )
        })
    }
}

fn check_size(bytes: u64) -> Result<(), Error> {
    match bytes {
        0 => Err(Error::refused(
            "bad_parameter",
            "`bytes` is 0, a file of weights has 1 at least",
        )),
        1..=MAX_BYTES => Ok(()),
        _ => Err(Error::TooLarge { limit: MAX_BYTES }),
    }
}

fn grant(
    key: &ObjectKey,
    sha256: &str,
    size: u64,
    expires: DateTime<Utc>,
) -> Result<UploadGrant, Error> {
    Ok(UploadGrant {
        key: key.to_path(),
        size,
        sha256: Sha256Hex::parse(sha256).map_err(Error::internal)?,
        content_type: CONTENT_TYPE.to_owned(),
        expires,
        create_only: true,
    })
}

/// Where to send a file of weights; `stored` when the same bytes are there. A training names the `key` in
/// `network.weights`.
#[utoipa::path(post, path = "/api/v1/weights", tag = "models", request_body = NewWeights,
    responses((status = 200, body = UploadAnswer), (status = "default", body = ErrorBody)))]
pub(crate) async fn upload_weights(
    State(app): State<App>,
    JsonBody(new): JsonBody<NewWeights>,
) -> Result<Json<UploadAnswer>, Error> {
    let name = new.key()?;
    let key = ObjectKey::Weights(name.clone());
    if app.store.head(&key).await?.is_some() {
        return Ok(Json(UploadAnswer::of_key(UploadStatus::Stored, &key)));
    }
    let ttl = TimeDelta::from_std(app.settings.upload_ttl).unwrap_or(TimeDelta::MAX);
    let grant = grant(&key, &new.sha256, new.bytes, app.store.now() + ttl)?;
    let signed = match &app.receiver {
        None => app.signer.sign(&grant).await?,
        Some(_) => SignedUpload {
            method: "PUT".to_owned(),
            url: WEIGHTS_FILE_PATH.replace("{file}", &name.name()),
            headers: vec![("content-type".to_owned(), CONTENT_TYPE.to_owned())],
            expires: grant.expires,
        },
    };
    Ok(Json(UploadAnswer::to_send(&key, signed)))
}

/// Takes a file of weights: the bytes that its name is the hash of. Again is the same as once.
#[utoipa::path(put, path = "/api/v1/weights/{file}", tag = "models",
    params(("file" = String, Path, description = "`<sha256>.<ending>`")),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 200, body = StoredUpload), (status = "default", body = ErrorBody)))]
pub(crate) async fn put_weights(
    State(app): State<App>,
    person: Person,
    Path(file): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StoredUpload>, Error> {
    let Some(name) = WeightsKey::parse_name(&file) else {
        return Err(Error::not_found(format!("weights `{}`", shown(&file))));
    };
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    let bytes = length.ok_or_else(|| Error::malformed("an upload tells its `Content-Length`"))?;
    check_size(bytes)?;
    let key = ObjectKey::Weights(name.clone());
    let grant = grant(&key, name.sha256(), bytes, DateTime::<Utc>::MAX_UTC)?;
    let received = receive(&app.store, &grant, body.into_data_stream()).await?;
    if received == Received::Stored {
        let details = json!({ "bytes": bytes, "sha256": name.sha256() });
        audit::record_done(&app.store, &person.id, "weights.file", &grant.key, details).await;
    }
    Ok(Json(StoredUpload {
        key: grant.key,
        bytes,
        sha256: name.sha256().to_owned(),
    }))
}

/// Refuses weights that are not there, before a training is accepted.
pub(super) async fn check_stored(app: &App, key: &str) -> Result<(), Error> {
    let Ok(Some(weights @ ObjectKey::Weights(_))) = ObjectKey::parse(key) else {
        return Ok(());
    };
    if app.store.head(&weights).await?.is_some() {
        return Ok(());
    }
    Err(Error::Refused {
        code: "unknown_weights",
        message: format!("there are no weights `{key}`"),
        hint: Some("`cellmill train --weights FILE` sends the file first"),
    })
}
