//! Large files, sent in parts: which parts are there, the right to send others, and the end.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::extract::State;
use cellmill_core::ids::UlidText;
use cellmill_core::keys::ObjectKey;
use cellmill_store::uploads::{Received, Sha256Hex, UploadRefusal, receive_part};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::uploads::{StoredUpload, check_length, not_here};
use crate::edge::{Error, ErrorBody, Json, JsonBody, Path};
use crate::parts::App;

/// Where this api takes parts itself.
pub(crate) const UPLOAD_PART_PATH: &str = "/uploads/parts/{token}";

/// The most parts that are signed at once: an answer of some hundred kilobytes.
const MAX_PARTS_AT_ONCE: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
    /// Parts may be sent.
    Open,
    /// The object was made of them.
    Complete,
}

/// An upload in parts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadView {
    pub id: String,
    pub state: UploadState,
    /// The key under which the whole will be.
    pub key: String,
    pub bytes: u64,
    /// Of the whole, lower-case hex.
    pub sha256: String,
    pub content_type: String,
    /// The length of each part but the last.
    pub part_bytes: u64,
    pub n_parts: u64,
    /// Those that are there, in their order; of a complete upload none.
    pub parts: Vec<PartView>,
    pub by: String,
    pub at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<DateTime<Utc>>,
}

/// A part that is there.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// From 1.
    pub number: u32,
    pub bytes: u64,
    /// Of the part, where the storage tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What came of an upload so far: whoever was cut off sends only the parts that are missing here.
#[utoipa::path(get, path = "/api/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path, description = "`upload` of the answer that asked for parts")),
    responses((status = 200, body = UploadView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_upload(
    State(app): State<App>,
    Path(id): Path<UlidText>,
) -> Result<Json<UploadView>, Error> {
    let (session, parts) = app.sessions().find(&id).await?;
    let parts = parts.into_iter().map(|it| PartView {
        number: it.number,
        bytes: it.bytes,
        sha256: it.sha256.map(String::from),
    });
    Ok(Json(UploadView {
        id: id.to_string(),
        state: match session.stored_at {
            None => UploadState::Open,
            Some(_) => UploadState::Complete,
        },
        n_parts: session.n_parts(),
        parts: parts.collect(),
        key: session.key,
        bytes: session.bytes,
        sha256: session.sha256,
        content_type: session.content_type,
        part_bytes: session.part_bytes,
        by: session.by,
        at: session.at,
        stored_at: session.stored_at,
    }))
}

/// Parts that somebody wants to send, 1 to 1000 of them, none twice.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignParts {
    pub parts: Vec<WantedPartBody>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedPartBody {
    /// From 1. Its length follows from the number.
    pub number: u32,
    /// Of the part's content, 64 hex digits.
    pub sha256: String,
}

/// How to send them, in the order asked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedParts {
    pub parts: Vec<SignedPartView>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedPartView {
    pub number: u32,
    pub method: String,
    /// Relative to the api, or absolute.
    pub url: String,
    /// Headers that must be sent.
    pub headers: BTreeMap<String, String>,
    pub expires: DateTime<Utc>,
}

/// Asks for the right to send parts. Each URL takes one part: its number, its length, its content, for a while.
#[utoipa::path(post, path = "/api/v1/uploads/{id}/parts", tag = "uploads",
    params(("id" = String, Path)), request_body = SignParts,
    responses((status = 200, body = SignedParts), (status = "default", body = ErrorBody)))]
pub(crate) async fn sign_parts(
    State(app): State<App>,
    Path(id): Path<UlidText>,
    JsonBody(request): JsonBody<SignParts>,
) -> Result<Json<SignedParts>, Error> {
    let n_parts = request.parts.len();
    let numbers: BTreeSet<u32> = request.parts.iter().map(|it| it.number).collect();
    if n_parts == 0 || n_parts > MAX_PARTS_AT_ONCE || numbers.len() != n_parts {
        return Err(Error::malformed(format!(
            "`parts` holds 1 to {MAX_PARTS_AT_ONCE} parts, none twice, not {n_parts}"
        )));
    }
    let wanted: Vec<(u32, Sha256Hex)> = request
        .parts
        .iter()
        .map(|it| match Sha256Hex::parse(&it.sha256) {
            Ok(sha256) => Ok((it.number, sha256)),
            Err(error) => Err(Error::malformed(format!("part {}: {error}", it.number))),
        })
        .collect::<Result<_, _>>()?;
    let ttl = TimeDelta::from_std(app.settings.upload_ttl).unwrap_or(TimeDelta::MAX);
    let expires = app.store.now() + ttl;
    let signed = app.sessions().sign(&id, &wanted, expires).await?;
    let parts = wanted
        .iter()
        .zip(signed)
        .map(|((number, _), signed)| SignedPartView {
            number: *number,
            method: signed.method,
            url: signed.url,
            headers: signed.headers.into_iter().collect(),
            expires: signed.expires,
        });
    Ok(Json(SignedParts {
        parts: parts.collect(),
    }))
}

/// Makes the object of its parts, all of which must be there. Asked again, or by somebody who sent the same file,
/// it answers the same success.
#[utoipa::path(post, path = "/api/v1/uploads/{id}/complete", tag = "uploads", params(("id" = String, Path)),
    responses(
        (status = 201, description = "The object is stored", body = StoredUpload),
        (status = 200, description = "The same bytes were there", body = StoredUpload),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn complete_upload(
    State(app): State<App>,
    Path(id): Path<UlidText>,
) -> Result<(StatusCode, Json<StoredUpload>), Error> {
    let (session, received) = app.sessions().complete(&id).await?;
    let Ok(Some(key)) = ObjectKey::parse(&session.key) else {
        return Err(Error::internal(format!(
            "upload `{id}` is for `{}`, which is no key",
            session.key
        )));
    };
    // Also when it was there: whoever stored it may have been killed before this.
    if let Some(head) = app.store.head(&key).await? {
        app.notify.created(&key, &head).await?;
    }
    let status = match received {
        Received::Stored => StatusCode::CREATED,
        Received::AlreadyThere => StatusCode::OK,
    };
    let stored = StoredUpload {
        key: session.key,
        bytes: session.bytes,
        sha256: session.sha256,
    };
    Ok((status, Json(stored)))
}

/// Gives an upload up: the parts that are there are removed. What is complete stays.
#[utoipa::path(delete, path = "/api/v1/uploads/{id}", tag = "uploads", params(("id" = String, Path)),
    responses(
        (status = 204, description = "There is no such upload any more"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn give_up_upload(
    State(app): State<App>,
    Path(id): Path<UlidText>,
) -> Result<StatusCode, Error> {
    app.sessions().give_up(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the bytes of a signed part: exactly those that were signed.
#[utoipa::path(put, path = "/uploads/parts/{token}", tag = "uploads",
    params(("token" = String, Path, description = "From `url` of the signed part")),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "The part is stored", body = PartView),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn put_upload_part(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<PartView>), Error> {
    let Some(receiver) = &app.receiver else {
        return Err(not_here());
    };
    let grant = receiver.verify_part(&token, app.store.now())?;
    if !matches!(ObjectKey::parse(&grant.key), Ok(Some(_))) {
        return Err(UploadRefusal::Malformed.into());
    }
    check_length(&headers, grant.size)?;
    receive_part(&app.store, &grant, body.into_data_stream()).await?;
    let part = PartView {
        number: grant.number,
        bytes: grant.size,
        sha256: Some(grant.sha256.into()),
    };
    Ok((StatusCode::CREATED, Json(part)))
}
