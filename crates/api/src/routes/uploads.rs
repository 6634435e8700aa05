//! Signed uploads: grants for files that are not there yet, and taking their bytes.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::extract::State;
use cellmill_core::ids::TableName;
use cellmill_core::keys::{ImageKey, ObjectKey};
use cellmill_core::records::{ImageRecord, ImageState, PointsRecord, Rejection};
use cellmill_store::uploads::{
    NewSession, Received, Sha256Hex, SignedUpload, UploadGrant, UploadRefusal, receive,
};
use cellmill_store::{AsKey, Decision, Head, Store};
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::documents::read_or_skip;
use super::upload_absent::absent;
use super::upload_plan::{Place, Planned, UploadFile, plan, refused};
use crate::edge::{Error, ErrorBody, Json, JsonBody, Path};
use crate::parts::App;
use crate::person::Person;

/// Where this api takes uploads itself.
pub(crate) const UPLOAD_PATH: &str = "/uploads/{token}";

const MAX_FILES: usize = 1000;

/// Files that are looked at together; some may have to be read to know their hash.
const FILES_AT_ONCE: usize = 16;

/// Files that somebody wants to send, 1 to 1000 of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantUploads {
    pub files: Vec<UploadFile>,
}

/// What to do with each, in the order asked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadAnswers {
    pub files: Vec<UploadAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadStatus {
    /// Send it: `method`, `url` and `headers` say how.
    Send,
    /// Send it in `n_parts` parts of `part_bytes` each, the last one shorter: `upload` names the upload. Some may be
    /// there already.
    SendParts,
    /// The same bytes lie there already.
    Stored,
    /// An image of this name is there with other bytes.
    Conflict,
    /// It can't be taken: `code` and `reason` say why.
    Refused,
}

/// What to do with one file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadAnswer {
    pub status: UploadStatus,
    /// Its key, unless it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Relative to the api, or absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers that must be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
    /// The upload in parts, the same for the same file however often it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_parts: Option<u64>,
    /// Other bytes lie there, which these will replace: an older CSV, or an image that was rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An upload that was taken.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoredUpload {
    pub key: String,
    pub bytes: u64,
    pub sha256: String,
}

impl UploadAnswer {
    pub(super) fn of_key(status: UploadStatus, key: &ObjectKey) -> Self {
        Self {
            status,
            key: Some(key.to_path()),
            method: None,
            url: None,
            headers: None,
            expires: None,
            upload: None,
            part_bytes: None,
            n_parts: None,
            replaces: false,
            code: None,
            reason: None,
        }
    }

    pub(super) fn to_send(key: &ObjectKey, signed: SignedUpload) -> Self {
        Self {
            method: Some(signed.method),
            url: Some(signed.url),
            headers: Some(signed.headers.into_iter().collect()),
            expires: Some(signed.expires),
            ..Self::of_key(UploadStatus::Send, key)
        }
    }

    fn conflict(key: &ObjectKey) -> Self {
        Self {
            code: Some("conflict".to_owned()),
            reason: Some("an image of this name is there with other bytes".to_owned()),
            ..Self::of_key(UploadStatus::Conflict, key)
        }
    }

    fn refused(why: Rejection) -> Self {
        Self {
            status: UploadStatus::Refused,
            key: None,
            method: None,
            url: None,
            headers: None,
            expires: None,
            upload: None,
            part_bytes: None,
            n_parts: None,
            replaces: false,
            code: Some(why.code),
            reason: Some(why.reason),
        }
    }
}

/// Asks for the right to send files. Files that are there already need not be sent.
#[utoipa::path(post, path = "/api/v1/uploads", tag = "uploads", request_body = GrantUploads,
    responses((status = 200, body = UploadAnswers), (status = "default", body = ErrorBody)))]
pub(crate) async fn grant_uploads(
    State(app): State<App>,
    person: Person,
    JsonBody(request): JsonBody<GrantUploads>,
) -> Result<Json<UploadAnswers>, Error> {
    let n_files = request.files.len();
    if n_files == 0 || n_files > MAX_FILES {
        return Err(Error::malformed(format!(
            "`files` holds 1 to {MAX_FILES} files, not {n_files}"
        )));
    }
    let planned: Vec<Result<Planned, Rejection>> = request
        .files
        .iter()
        .map(|file| plan(file, &app.settings))
        .collect();
    let keys = planned.iter().flatten().map(|it| it.place.key().to_path());
    let absent = absent(&app.store, keys).await?;
    let files = stream::iter(planned)
        .map(|planned| answer(&app, &person, planned, &absent))
        .buffered(FILES_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Json(UploadAnswers { files }))
}

async fn answer(
    app: &App,
    person: &Person,
    planned: Result<Planned, Rejection>,
    absent: &BTreeSet<String>,
) -> Result<UploadAnswer, Error> {
    let planned = match planned {
        Ok(planned) => planned,
        Err(why) => return Ok(UploadAnswer::refused(why)),
    };
    if let Place::Image {
        label_type: Some(name),
        ..
    } = &planned.place
        && let Some(why) = unknown_label_type(&app.store, name).await?
    {
        return Ok(UploadAnswer::refused(why));
    }
    let key = planned.place.key();
    let is_image = matches!(planned.place, Place::Image { .. });
    let found = if absent.contains(&key.to_path()) {
        Found::Nothing
    } else {
        found(&app.store, &planned).await?
    };
    match found {
        Found::Other => return Ok(UploadAnswer::conflict(&key)),
        Found::Same => {
            remember(&app.store, &planned.place).await?;
            return Ok(UploadAnswer::of_key(UploadStatus::Stored, &key));
        }
        Found::Nothing | Found::Replaceable => {}
    }
    remember(&app.store, &planned.place).await?;
    let replaces = found == Found::Replaceable;
    let create_only = is_image && !replaces;
    // A CSV is never so large that its parts would be worth it, and in one piece S3 checks its sha256.
    let answer = if is_image && planned.bytes > app.settings.parts_above {
        parts_answer(app, person, planned, create_only).await?
    } else {
        send_answer(app, planned, create_only).await?
    };
    Ok(UploadAnswer { replaces, ..answer })
}

async fn send_answer(
    app: &App,
    planned: Planned,
    create_only: bool,
) -> Result<UploadAnswer, Error> {
    let key = planned.place.key();
    let ttl = TimeDelta::from_std(app.settings.upload_ttl).unwrap_or(TimeDelta::MAX);
    let grant = UploadGrant {
        key: key.to_path(),
        size: planned.bytes,
        sha256: planned.sha256,
        content_type: planned.content_type,
        expires: app.store.now() + ttl,
        create_only,
    };
    let signed = app.signer.sign(&grant).await?;
    Ok(UploadAnswer::to_send(&key, signed))
}

async fn parts_answer(
    app: &App,
    person: &Person,
    planned: Planned,
    create_only: bool,
) -> Result<UploadAnswer, Error> {
    let key = planned.place.key();
    let wish = NewSession {
        key: key.to_path(),
        bytes: planned.bytes,
        sha256: planned.sha256,
        content_type: planned.content_type,
        part_bytes: app.settings.part_bytes,
        create_only,
        by: person.id.clone(),
    };
    let session = app.sessions().open(&wish).await?;
    Ok(UploadAnswer {
        upload: Some(session.id().to_string()),
        part_bytes: Some(session.part_bytes),
        n_parts: Some(session.n_parts()),
        ..UploadAnswer::of_key(UploadStatus::SendParts, &key)
    })
}

async fn unknown_label_type(store: &Store, name: &TableName) -> Result<Option<Rejection>, Error> {
    let is_known = store
        .head(&ObjectKey::LabelType(name.clone()))
        .await?
        .is_some();
    let reason = || format!("there is no label type `{name}`");
    Ok((!is_known).then(|| refused("unknown_label_type", reason())))
}

/// What lies under the key of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The same bytes.
    Same,
    /// Other bytes, which may go: a CSV, or an image that was rejected.
    Replaceable,
    /// Another image.
    Other,
}

async fn found(store: &Store, planned: &Planned) -> Result<Found, Error> {
    let key = planned.place.key();
    let Some(head) = store.head(&key).await? else {
        return Ok(Found::Nothing);
    };
    let known = match &planned.place {
        Place::Image { key, .. } => Known::of_image(store, key, &head).await?,
        Place::Points(_) => Known::of_points(store, &planned.place, &head).await?,
    };
    let is_same = head.size == planned.bytes
        && match known.sha256 {
            Some(sha256) => sha256 == planned.sha256.as_str(),
            None if head.declared_sha256.is_some() => {
                head.declared_sha256.as_deref() == Some(planned.sha256.as_str())
            }
            None => hash_of(store, &key).await? == planned.sha256,
        };
    Ok(match (is_same, known.may_go) {
        (true, _) => Found::Same,
        (false, true) => Found::Replaceable,
        (false, false) => Found::Other,
    })
}

/// What the records say of the bytes that lie there now.
struct Known {
    sha256: Option<String>,
    may_go: bool,
}

impl Known {
    async fn of_image(store: &Store, key: &ImageKey, head: &Head) -> Result<Self, Error> {
        let record = ObjectKey::ImageRecord(key.clone());
        let record = read_or_skip::<ImageRecord>(store, &record).await?;
        let record = record.map(|it| it.value);
        let etag = Some(head.etag.as_str());
        let Some(record) = record.filter(|it| it.speaks_of(etag)) else {
            return Ok(Self {
                sha256: None,
                may_go: false,
            });
        };
        let sha256 = match record.conflict {
            Some(conflict) if conflict.etag.as_deref() == etag => Some(conflict.sha256),
            _ => record.sha256,
        };
        Ok(Self {
            sha256,
            may_go: record.state == ImageState::Rejected,
        })
    }

    async fn of_points(store: &Store, place: &Place, head: &Head) -> Result<Self, Error> {
        let Place::Points(key) = place else {
            return Ok(Self {
                sha256: None,
                may_go: false,
            });
        };
        let record = ObjectKey::PointsRecord(key.clone());
        let record = read_or_skip::<PointsRecord>(store, &record).await?;
        let record = record.filter(|it| it.value.etag.as_deref() == Some(&*head.etag));
        Ok(Self {
            sha256: record.map(|it| it.value.sha256),
            may_go: true,
        })
    }
}

pub(super) async fn hash_of(
    store: &Store,
    key: &(impl AsKey + ?Sized + Sync),
) -> Result<Sha256Hex, Error> {
    let (_, mut bytes) = store.get_stream(key).await?;
    let mut hasher = Sha256::new();
    while let Some(piece) = bytes.try_next().await? {
        hasher.update(&piece);
    }
    Ok(Sha256Hex::of(hasher))
}

/// Writes down, before the bytes come, what the bytes will not tell: a name that the key does not hold, the
/// label type, and the part of a fixed split.
async fn remember(store: &Store, place: &Place) -> Result<(), Error> {
    let Place::Image {
        key,
        original_name,
        label_type,
        part,
    } = place
    else {
        return Ok(());
    };
    if original_name.is_none() && label_type.is_none() && part.is_none() {
        return Ok(());
    }
    let label_type = label_type.as_ref().map(TableName::as_str);
    let decide = |record: Option<&ImageRecord>| {
        let mut next = match record {
            Some(record) => record.clone(),
            None => ImageRecord::expected(key.clone()),
        };
        if next.original_name.is_none() {
            next.original_name.clone_from(original_name);
        }
        // Of a usable image the label type is changed by a person, not by sending the image again; the part
        // may still be said once.
        if matches!(next.state, ImageState::Expected | ImageState::Rejected) {
            next.label_type = label_type.map(str::to_owned).or(next.label_type);
            next.part = part.or(next.part);
        } else if next.part.is_none() {
            next.part = *part;
        }
        if record == Some(&next) {
            Decision::Keep
        } else {
            Decision::Write(next)
        }
    };
    let record = ObjectKey::ImageRecord(key.clone());
    store.swap(&record, decide).await?;
    Ok(())
}

/// Takes the bytes of a granted upload: exactly those that were granted.
#[utoipa::path(put, path = "/uploads/{token}", tag = "uploads",
    params(("token" = String, Path, description = "From `url` of the grant")),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "The bytes are stored", body = StoredUpload),
        (status = 200, description = "The same bytes were there", body = StoredUpload),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn put_upload(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<StoredUpload>), Error> {
    let Some(receiver) = &app.receiver else {
        return Err(not_here());
    };
    let grant = receiver.verify(&token, app.store.now())?;
    let Ok(Some(key @ (ObjectKey::Image(_) | ObjectKey::Points(_)))) = ObjectKey::parse(&grant.key)
    else {
        return Err(UploadRefusal::Malformed.into());
    };
    check_headers(&headers, &grant)?;
    let received = receive(&app.store, &grant, body.into_data_stream()).await?;
    if let Some(head) = app.store.head(&key).await? {
        app.notify.created(&key, &head).await?;
    }
    let status = match received {
        Received::Stored => StatusCode::CREATED,
        Received::AlreadyThere => StatusCode::OK,
    };
    let stored = StoredUpload {
        key: grant.key,
        bytes: grant.size,
        sha256: grant.sha256.to_string(),
    };
    Ok((status, Json(stored)))
}

pub(super) fn not_here() -> Error {
    Error::Forbidden {
        code: "not_here",
        message: "uploads go to the bucket, not to this api".to_owned(),
    }
}

/// Refuses by the headers alone, before a byte of the body is read.
fn check_headers(headers: &HeaderMap, grant: &UploadGrant) -> Result<(), Error> {
    let sent_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let sent_type = sent_type.unwrap_or_default();
    if !sent_type.eq_ignore_ascii_case(&grant.content_type) {
        return Err(Error::WrongType {
            message: format!("the upload was granted for `{}`", grant.content_type),
        });
    }
    check_length(headers, grant.size)
}

/// Refuses another length than granted, before a byte of the body is read.
pub(super) fn check_length(headers: &HeaderMap, granted: u64) -> Result<(), Error> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > granted => Err(Error::TooLarge { limit: granted }),
        Some(length) if length == granted => Ok(()),
        Some(length) => Err(Error::malformed(format!(
            "the upload has {length} bytes, granted were {granted}"
        ))),
        None => Err(Error::malformed("the upload needs a `content-length`")),
    }
}

impl From<UploadRefusal> for Error {
    fn from(refusal: UploadRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            UploadRefusal::Malformed | UploadRefusal::BadSignature => Self::Forbidden {
                code: "bad_token",
                message,
            },
            UploadRefusal::Expired { .. } => Self::Forbidden {
                code: "expired",
                message,
            },
            UploadRefusal::TooLong { granted, .. } => Self::TooLarge { limit: granted },
            UploadRefusal::TooShort { .. } | UploadRefusal::NoSuchPart { .. } => {
                Self::Malformed { message }
            }
            UploadRefusal::OtherContent { .. } => Self::refused("sha256_differs", message),
            UploadRefusal::Exists { .. } => Self::conflict("conflict", message),
            UploadRefusal::NoSession { id } => Self::not_found(format!("upload `{id}`")),
            UploadRefusal::Complete { .. } => Self::conflict("upload_complete", message),
            UploadRefusal::Forgotten { .. } => Self::conflict("upload_forgotten", message),
            UploadRefusal::PartsMissing { .. } => Self::conflict("parts_missing", message),
            UploadRefusal::BrokenOff { .. } => Self::TooSlow,
            UploadRefusal::Store { source, .. } => source.into(),
            other => Self::internal(other),
        }
    }
}
