//! The registry of models: what is there, models that come from elsewhere, and which one a label type uses.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use cellmill_core::classes::MAX_CLASS_ID;
use cellmill_core::ids::TableName;
use cellmill_core::keys::{ModelKey, ModelKind, NumberKind, ObjectKey};
use cellmill_core::messages::UnitClass;
use cellmill_core::model::{
    Calibration, Decided, DetectorFacts, Measured, ModelCard, ModelClass, ModelInput, ModelState,
    Threshold, TrainingFacts,
};
use cellmill_core::records::NumberRecord;
use cellmill_store::uploads::{Received, Sha256Hex, SignedUpload, UploadGrant, receive};
use cellmill_store::{Decision, Store, Versioned};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::datasets::long_description;
use super::documents::{READS_AT_ONCE, read_or_skip};
use super::label_types::{self, LabelTypeView, StoredType};
use super::uploads::{UploadAnswer, UploadStatus, hash_of};
use super::{jobs, model_file, network_rules};
use crate::audit;
use crate::edge::{
    Disposition, Error, ErrorBody, Json, JsonBody, Page, PageQuery, Path, Query, send_object,
};
use crate::parts::App;
use crate::person::Person;

/// Where the bytes of an imported model go.
pub(crate) const MODEL_FILE_PATH: &str = "/api/v1/models/{mid}/file";

const MODEL_TYPE: &str = "application/octet-stream";
/// The largest model file, 1 GiB: far above any network that this program knows.
const MAX_MODEL_BYTES: u64 = 1 << 30;
/// Outputs of a network.
const MAX_CLASSES: usize = 1000;

/// A model of the registry: its card.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ModelView {
    /// The model's number: 1 to 99 shipped, from 100 a lab's own.
    pub mid: u64,
    /// Grows with every change of the card.
    pub rev: u64,
    pub description: String,
    /// `uploading`, `ready`, `proposed` or `adopted`.
    #[schema(value_type = String)]
    pub state: ModelState,
    /// `classifier` or `detector`.
    #[schema(value_type = String)]
    #[serde(default = "classifier")]
    pub kind: ModelKind,
    /// Key of the model file.
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
    /// `id` and `name`, in the order of the network's outputs.
    #[schema(value_type = Vec<Object>)]
    pub classes: Vec<ModelClass>,
    /// `side` in pixels, `gray`, and per channel `mean` and `std`.
    #[schema(value_type = Object)]
    pub input: ModelInput,
    pub family: String,
    pub scale: String,
    /// Width of the layer before the classes.
    pub features: u32,
    /// Which workers can run it.
    pub unit_class: String,
    /// Of a model that only the predecessor's workers can run: its kind, 1 to 8. Null: of Cellmill's own.
    pub mtype: Option<u8>,
    /// Where the weights come from; null for an imported model.
    #[schema(value_type = Option<Object>)]
    pub training: Option<TrainingFacts>,
    /// Figures on the validation part.
    #[schema(value_type = Option<Object>)]
    pub validation: Option<Measured>,
    /// Figures on the test part, which was looked at once.
    #[schema(value_type = Option<Object>)]
    pub test: Option<Measured>,
    /// What a colour histogram with logistic regression reaches on the same cells.
    #[schema(value_type = Option<Object>)]
    pub baseline: Option<Measured>,
    #[schema(value_type = Option<Object>)]
    pub calibration: Option<Calibration>,
    /// Of two classes: `recall` of the second, the `threshold` that keeps it, the `precision` there.
    #[schema(value_type = Vec<Object>)]
    pub thresholds: Vec<Threshold>,
    /// Of a detector: how it looks at images (`zoom`, `reach`, `min_score`, `max_overlap`), and average precision,
    /// precision and recall on the `validation` and the `test` part. Null for others.
    #[schema(value_type = Option<Object>)]
    #[serde(default)]
    pub detector: Option<DetectorFacts>,
    pub lineage: Vec<u64>,
    /// Who decided about its state: `at`, `by`, `why`.
    #[schema(value_type = Option<Object>)]
    pub decided: Option<Decided>,
}

impl From<ModelCard> for ModelView {
    fn from(card: ModelCard) -> Self {
        Self {
            mid: card.mid,
            rev: card.stamp.rev,
            description: card.description,
            state: card.state,
            kind: card.kind,
            file: card.file,
            bytes: card.bytes,
            sha256: card.sha256,
            classes: card.classes,
            input: card.input,
            family: card.family,
            scale: card.scale,
            features: card.features,
            unit_class: card.unit_class,
            mtype: card.mtype,
            training: card.training,
            validation: card.validation,
            test: card.test,
            baseline: card.baseline,
            calibration: card.calibration,
            thresholds: card.thresholds,
            detector: card.detector,
            lineage: card.lineage,
            decided: card.decided,
        }
    }
}

const fn classifier() -> ModelKind {
    ModelKind::Classifier
}

fn model_key(mid: u64) -> ModelKey {
    ModelKey::of_number(ModelKind::Classifier, mid)
}

pub(super) fn card_key(mid: u64) -> ObjectKey {
    ObjectKey::ModelCard(model_key(mid))
}

/// The card of a classifier that a job or a label type may use.
pub(super) async fn usable(app: &App, mid: u64) -> Result<ModelCard, Error> {
    let card = usable_of_any_kind(app, mid).await?;
    match card.kind {
        ModelKind::Classifier => Ok(card),
        kind => Err(Error::Refused {
            code: "wrong_kind",
            message: format!(
                "model {mid} is a {}, cells are named by a classifier",
                kind.as_str()
            ),
            hint: Some("`cellmill models ls` shows what kind each model is"),
        }),
    }
}

/// The card of a detector that a data set may be made with.
pub(super) async fn usable_detector(app: &App, mid: u64) -> Result<ModelCard, Error> {
    let card = usable_of_any_kind(app, mid).await?;
    // Files of the predecessor say nothing of their kind.
    if card.kind == ModelKind::Detector || card.mtype.is_some() {
        return Ok(card);
    }
    Err(Error::Refused {
        code: "wrong_kind",
        message: format!(
            "model {mid} is a {}, cells are found by a detector",
            card.kind.as_str()
        ),
        hint: Some(
            "`parameter_mid` 0 is the classical finder, `cellmill train --kind detect` makes a detector",
        ),
    })
}

pub(super) async fn usable_of_any_kind(app: &App, mid: u64) -> Result<ModelCard, Error> {
    let Some(card) = app.store.read_model_card(mid).await? else {
        return Err(unknown_model(app, mid).await?);
    };
    if card.value.state == ModelState::Uploading {
        let message = format!("the file of model {mid} was not sent yet");
        return Err(Error::conflict("model_uploading", message));
    }
    Ok(card.value)
}

/// Refuses a model that only the predecessor's workers can open, where this program has to.
pub(super) fn check_own(card: &ModelCard) -> Result<(), Error> {
    let Some(mtype) = card.mtype else {
        return Ok(());
    };
    Err(Error::refused(
        "legacy_model",
        format!(
            "model {} is of the predecessor's kind {mtype}, {}: only its workers can run it",
            card.mid, card.family
        ),
    ))
}

/// Says whether the number is unknown, or its training has not ended.
async fn unknown_model(app: &App, mid: u64) -> Result<Error, Error> {
    let key = ObjectKey::Number(NumberKind::Models, mid);
    let number = read_or_skip::<NumberRecord>(&app.store, &key).await?;
    let message = match number {
        Some(number) if !number.value.dir.is_empty() => format!(
            "there is no model {mid} yet: the training in `{}` has not brought it",
            number.value.dir
        ),
        _ => format!("there is no model {mid}"),
    };
    Ok(Error::Refused {
        code: "unknown_model",
        message,
        hint: Some("`cellmill models ls` lists the models that are there"),
    })
}

async fn read_card(app: &App, mid: u64) -> Result<Versioned<ModelCard>, Error> {
    let card = app.store.read_model_card(mid).await?;
    card.ok_or_else(|| Error::not_found(format!("model {mid}")))
}

/// The card of a model; one that can't be understood is logged and skipped, so that it hides no other of a list.
async fn card_or_skip(store: &Store, mid: u64) -> Result<Option<Versioned<ModelCard>>, Error> {
    match store.read_model_card(mid).await {
        Err(error @ cellmill_store::Error::Malformed { .. }) => {
            tracing::error!("{}", cellmill_service::report(&error));
            Ok(None)
        }
        read => Ok(read?),
    }
}

/// Models, the newest first. A training's model is there when the training is done.
#[utoipa::path(get, path = "/api/v1/models", tag = "models", params(PageQuery),
    responses((status = 200, body = Page<ModelView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_models(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ModelView>>, Error> {
    let limit = page.limit()?;
    let after: Option<u64> = page.after(|it| it.parse().ok())?;
    let numbers = jobs::numbers(&app.store, NumberKind::Models).await?;
    let store = &app.store;
    let behind = numbers
        .into_iter()
        .filter(|number| after.is_none_or(|after| *number < after));
    let items: Vec<ModelView> = stream::iter(behind)
        .map(|mid| async move { card_or_skip(store, mid).await })
        .buffered(READS_AT_ONCE)
        .try_filter_map(|card| std::future::ready(Ok(card)))
        .map_ok(|card| card.value.into())
        .take(limit + 1)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.mid.to_string())))
}

/// One model.
#[utoipa::path(get, path = "/api/v1/models/{mid}", tag = "models", params(("mid" = u64, Path)),
    responses((status = 200, body = ModelView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_model(
    State(app): State<App>,
    Path(mid): Path<u64>,
) -> Result<Json<ModelView>, Error> {
    Ok(Json(read_card(&app, mid).await?.value.into()))
}

/// The model's file, a safetensors file, whole or by range.
#[utoipa::path(get, path = "/api/v1/models/{mid}/file", tag = "models", params(("mid" = u64, Path)),
    responses(
        (status = 200, description = "The whole file", body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "The range asked for", body = [u8], content_type = "application/octet-stream"),
        (status = 303, description = "The address to GET at once, without the headers of this request"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn get_model_file(
    State(app): State<App>,
    Path(mid): Path<u64>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let card = read_card(&app, mid).await?.value;
    // Files of the predecessor have names of their own.
    let key = match ObjectKey::parse(&card.file) {
        Ok(Some(key @ ObjectKey::Model(_))) => key,
        _ => ObjectKey::Model(model_key(mid)),
    };
    let content_type = "application/octet-stream";
    send_object(&app, &key, content_type, Disposition::Attachment, &headers).await
}

/// A model that comes from elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    #[serde(default)]
    pub description: String,
    /// Of the file, which is sent afterwards.
    pub bytes: u64,
    pub sha256: String,
    /// `mobilenet`
    pub family: String,
    /// `small`, `normal` or `big`
    pub scale: String,
    /// Width of the layer before the classes.
    pub features: u32,
    /// `id` and `name`, in the order of the network's outputs.
    #[schema(value_type = Vec<Object>)]
    pub classes: Vec<ModelClass>,
    /// `side` in pixels, `gray`, and per channel `mean` and `std`.
    #[schema(value_type = Object)]
    pub input: ModelInput,
    /// Which workers can run it: `cpu` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub unit_class: Option<UnitClass>,
}

impl NewModel {
    /// The hash of the file, when all values are within their limits.
    fn checked(&self) -> Result<Sha256Hex, Error> {
        let mut problems: Vec<String> = long_description(&self.description).into_iter().collect();
        let sha256 = Sha256Hex::parse(&self.sha256);
        if let Err(error) = &sha256 {
            problems.push(format!("`sha256`: {error}"));
        }
        if !(1..=MAX_MODEL_BYTES).contains(&self.bytes) {
            let bytes = self.bytes;
            problems.push(format!(
                "`bytes` is {bytes}, a model file has 1 to {MAX_MODEL_BYTES}"
            ));
        }
        network_rules::families("family", &self.family, &mut problems);
        network_rules::scale("scale", &self.scale, &mut problems);
        network_rules::features(self.features, &mut problems);
        let side = self.input.side;
        network_rules::within("input.side", side, &network_rules::SIDES, &mut problems);
        let is_scale = |it: &f32| it.is_finite() && *it > 0.0;
        if !self.input.std.iter().all(is_scale) || !self.input.mean.iter().all(|it| it.is_finite())
        {
            problems.push("`input`: `mean` is finite, `std` is above 0".to_owned());
        }
        self.check_classes(&mut problems);
        match sha256 {
            Ok(sha256) if problems.is_empty() => Ok(sha256),
            _ => Err(Error::refused("bad_parameter", problems.join("; "))),
        }
    }

    fn check_classes(&self, problems: &mut Vec<String>) {
        let n_classes = self.classes.len();
        if !(2..=MAX_CLASSES).contains(&n_classes) {
            problems.push(format!(
                "`classes` has {n_classes}, a model has 2 to {MAX_CLASSES}"
            ));
        }
        for (at, class) in self.classes.iter().enumerate() {
            let before = &self.classes[..at];
            if !(1..=MAX_CLASS_ID).contains(&class.id) {
                let id = class.id;
                problems.push(format!("class id {id} is not between 1 and {MAX_CLASS_ID}"));
            }
            if class.name.trim().is_empty() {
                problems.push(format!("class {} has no name", class.id));
            }
            if before
                .iter()
                .any(|it| it.id == class.id || it.name == class.name)
            {
                problems.push(format!("class {} ({}) comes twice", class.id, class.name));
            }
        }
    }
}

/// Announces a model. Its file is sent to `/api/v1/models/{mid}/file`; until then it can't be used.
#[utoipa::path(post, path = "/api/v1/models", tag = "models", request_body = NewModel,
    responses((status = 201, body = ModelView), (status = "default", body = ErrorBody)))]
pub(crate) async fn import_model(
    State(app): State<App>,
    person: Person,
    JsonBody(new): JsonBody<NewModel>,
) -> Result<(StatusCode, Json<ModelView>), Error> {
    let sha256 = new.checked()?;
    let kind = NumberKind::Models;
    let mid = app
        .store
        .take_number(kind, "", &new.description, &person.id)
        .await?;
    let unit_class = new.unit_class.unwrap_or_else(UnitClass::cpu);
    let file = ObjectKey::Model(model_key(mid)).to_path();
    let card = ModelCard {
        description: new.description,
        state: ModelState::Uploading,
        classes: new.classes,
        input: new.input,
        family: new.family,
        scale: new.scale,
        features: new.features,
        unit_class: unit_class.as_str().to_owned(),
        ..ModelCard::of_file(mid, file, new.bytes, sha256.to_string())
    };
    let key = card_key(mid);
    let stored = app.store.create(&key, card).await?.into_stored();
    let details = json!({ "sha256": stored.value.sha256 });
    let subject = key.to_path();
    audit::record_done(&app.store, &person.id, "model.create", &subject, details).await;
    Ok((StatusCode::CREATED, Json(stored.value.into())))
}

/// Takes the file of an announced model: exactly the bytes of its card, and a safetensors file.
#[utoipa::path(put, path = "/api/v1/models/{mid}/file", tag = "models", params(("mid" = u64, Path)),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 200, body = ModelView), (status = "default", body = ErrorBody)))]
pub(crate) async fn put_model_file(
    State(app): State<App>,
    person: Person,
    Path(mid): Path<u64>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ModelView>, Error> {
    let card = read_card(&app, mid).await?.value;
    check_length(&headers, card.bytes)?;
    let body = model_file::checked(body.into_data_stream(), card.bytes).await?;
    let grant = UploadGrant {
        key: ObjectKey::Model(model_key(mid)).to_path(),
        size: card.bytes,
        sha256: Sha256Hex::parse(&card.sha256).map_err(Error::internal)?,
        content_type: MODEL_TYPE.to_owned(),
        expires: DateTime::<Utc>::MAX_UTC,
        create_only: true,
    };
    let received = receive(&app.store, &grant, body).await?;
    if received == Received::Stored {
        record_file(&app, &person, &card).await;
    }
    Ok(Json(file_is_there(&app, mid).await?))
}

/// Where to send the file of an announced model. When it is there, `/api/v1/models/{mid}/complete` makes it usable.
#[utoipa::path(post, path = "/api/v1/models/{mid}/upload", tag = "models", params(("mid" = u64, Path)),
    responses((status = 200, body = UploadAnswer), (status = "default", body = ErrorBody)))]
pub(crate) async fn upload_model_file(
    State(app): State<App>,
    Path(mid): Path<u64>,
) -> Result<Json<UploadAnswer>, Error> {
    let card = read_card(&app, mid).await?.value;
    let key = ObjectKey::Model(model_key(mid));
    let is_stored = card.state != ModelState::Uploading || app.store.head(&key).await?.is_some();
    if is_stored {
        return Ok(Json(UploadAnswer::of_key(UploadStatus::Stored, &key)));
    }
    let ttl = TimeDelta::from_std(app.settings.upload_ttl).unwrap_or(TimeDelta::MAX);
    let grant = UploadGrant {
        key: key.to_path(),
        size: card.bytes,
        sha256: Sha256Hex::parse(&card.sha256).map_err(Error::internal)?,
        content_type: MODEL_TYPE.to_owned(),
        expires: app.store.now() + ttl,
        create_only: true,
    };
    let signed = match &app.receiver {
        None => app.signer.sign(&grant).await?,
        // Here the file's header is looked at before a byte is stored.
        Some(_) => SignedUpload {
            method: "PUT".to_owned(),
            url: MODEL_FILE_PATH.replace("{mid}", &mid.to_string()),
            headers: vec![("content-type".to_owned(), MODEL_TYPE.to_owned())],
            expires: grant.expires,
        },
    };
    Ok(Json(UploadAnswer::to_send(&key, signed)))
}

/// Makes a model usable whose file was sent. Again is the same as once.
#[utoipa::path(post, path = "/api/v1/models/{mid}/complete", tag = "models", params(("mid" = u64, Path)),
    responses((status = 200, body = ModelView), (status = "default", body = ErrorBody)))]
pub(crate) async fn complete_model(
    State(app): State<App>,
    person: Person,
    Path(mid): Path<u64>,
) -> Result<Json<ModelView>, Error> {
    let card = read_card(&app, mid).await?.value;
    if card.state != ModelState::Uploading {
        return Ok(Json(card.into()));
    }
    let key = ObjectKey::Model(model_key(mid));
    let Some(head) = app.store.head(&key).await? else {
        let message = format!("the file of model {mid} is not here yet");
        return Err(Error::conflict("file_missing", message));
    };
    // A bucket checked what is declared; anything else is read here.
    let is_whole = head.size == card.bytes
        && match head.declared_sha256 {
            Some(declared) => declared == card.sha256,
            None => hash_of(&app.store, &key).await?.as_str() == card.sha256,
        };
    if !is_whole {
        let message = format!("the file of model {mid} is not the one that was announced");
        return Err(Error::refused("sha256_differs", message));
    }
    let (_, bytes) = app.store.get_stream(&key).await?;
    // Only its head is read.
    drop(model_file::checked(bytes, card.bytes).await?);
    record_file(&app, &person, &card).await;
    Ok(Json(file_is_there(&app, mid).await?))
}

async fn record_file(app: &App, person: &Person, card: &ModelCard) {
    let details = json!({ "bytes": card.bytes, "sha256": card.sha256 });
    audit::record_done(&app.store, &person.id, "model.file", &card.file, details).await;
}

async fn file_is_there(app: &App, mid: u64) -> Result<ModelView, Error> {
    let swapped = app
        .store
        .swap(&card_key(mid), |card: Option<&ModelCard>| match card {
            Some(card) if card.state == ModelState::Uploading => Decision::Write(ModelCard {
                state: ModelState::Ready,
                ..card.clone()
            }),
            _ => Decision::Keep,
        })
        .await?;
    let stored = swapped.stored;
    let card = stored.ok_or_else(|| Error::not_found(format!("model {mid}")))?;
    Ok(card.value.into())
}

fn check_length(headers: &HeaderMap, expected: u64) -> Result<(), Error> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > expected => Err(Error::TooLarge { limit: expected }),
        Some(length) if length < expected => Err(Error::malformed(format!(
            "the file has {length} bytes, announced were {expected}"
        ))),
        // Without a length the bytes are counted as they come.
        _ => Ok(()),
    }
}

/// For which label type a model is to be used.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    #[schema(value_type = String)]
    pub label_type: TableName,
}

/// A model that a label type uses now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Promoted {
    pub model: ModelView,
    pub label_type: LabelTypeView,
    /// The model that was used before; promoting it undoes this. Null: none was, or the same one.
    pub replaced: Option<u64>,
}

/// Lets a label type use this model: it pre-annotates new images from now on.
#[utoipa::path(post, path = "/api/v1/models/{mid}/promote", tag = "models",
    params(("mid" = u64, Path)), request_body = Promote,
    responses((status = 200, body = Promoted), (status = "default", body = ErrorBody)))]
pub(crate) async fn promote_model(
    State(app): State<App>,
    person: Person,
    Path(mid): Path<u64>,
    JsonBody(Promote { label_type: name }): JsonBody<Promote>,
) -> Result<Json<Promoted>, Error> {
    read_card(&app, mid).await?;
    let card = usable_of_any_kind(&app, mid).await?;
    let key = ObjectKey::LabelType(name.clone());
    let Some(stored) = app.store.read::<StoredType>(&key).await? else {
        return Err(label_types::unknown(&name));
    };
    let asked = &stored.value.value;
    label_types::check_fits(&name, asked.algorithm, &asked.labels, &card)?;
    let mut replaced = None;
    let swapped = app
        .store
        .swap(&key, |stored: Option<&StoredType>| {
            replaced = stored.and_then(|it| it.value.mid);
            match stored {
                Some(stored) if stored.value.mid != Some(mid) => {
                    let mut next = stored.clone();
                    next.value.mid = Some(mid);
                    if card.kind == ModelKind::Detector {
                        // It finds cells itself.
                        next.value.detector = None;
                    }
                    Decision::Write(next)
                }
                _ => Decision::Keep,
            }
        })
        .await?;
    let Some(label_type) = swapped.stored else {
        return Err(label_types::unknown(&name));
    };
    let replaced = replaced.filter(|it| *it != mid);
    let decided = Decided {
        at: app.store.now(),
        by: person.id.clone(),
        why: format!("chosen for label type `{name}`"),
    };
    let own_key = key_of(&card);
    let model = adopt(&app.store, &own_key, &decided).await?;
    if swapped.changed {
        let details = json!({ "label_type": name.as_str(), "replaced": replaced });
        let subject = own_key.to_path();
        audit::record_done(&app.store, &person.id, "model.promote", &subject, details).await;
    }
    if let Some(before) = replaced {
        let why = format!("model {mid} was chosen for label type `{name}`");
        release(&app, before, Decided { why, ..decided }).await?;
    }
    Ok(Json(Promoted {
        model: model.unwrap_or(card).into(),
        label_type: label_type.value.into(),
        replaced,
    }))
}

/// Where a card lies.
fn key_of(card: &ModelCard) -> ObjectKey {
    ObjectKey::ModelCard(ModelKey::of_number(card.kind, card.mid))
}

async fn adopt(
    store: &Store,
    key: &ObjectKey,
    decided: &Decided,
) -> Result<Option<ModelCard>, Error> {
    let swapped = store
        .swap(key, |card: Option<&ModelCard>| match card {
            Some(card) if card.state != ModelState::Adopted => Decision::Write(ModelCard {
                state: ModelState::Adopted,
                decided: Some(decided.clone()),
                ..card.clone()
            }),
            _ => Decision::Keep,
        })
        .await?;
    Ok(swapped.stored.map(|it| it.value))
}

/// A model that no label type uses any more is usable, but not adopted.
async fn release(app: &App, mid: u64, decided: Decided) -> Result<(), Error> {
    let types = label_types::stored_types(app).await?;
    if types.iter().any(|it| it.value.mid == Some(mid)) {
        return Ok(());
    }
    let decide = |card: Option<&ModelCard>| match card {
        Some(card) if card.state == ModelState::Adopted => Decision::Write(ModelCard {
            state: ModelState::Ready,
            decided: Some(decided.clone()),
            ..card.clone()
        }),
        _ => Decision::Keep,
    };
    if let Some(card) = app.store.read_model_card(mid).await? {
        app.store.swap(&key_of(&card.value), decide).await?;
    }
    Ok(())
}
