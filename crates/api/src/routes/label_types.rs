//! Label types: how images are labelled, and by which model they are pre-annotated.

use axum::extract::State;
use cellmill_core::document::Stamp;
use cellmill_core::ids::TableName;
use cellmill_core::keys::{ModelKind, ObjectKey, Prefix};
use cellmill_core::label::LabelType;
use cellmill_core::model::ModelCard;
use cellmill_core::records::{LabelTypeSettings, Named, PeriodicTraining};
use cellmill_store::Decision;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::documents::documents;
use super::models;
use crate::audit;
use crate::edge::{Error, ErrorBody, Json, JsonBody, Page, PageQuery, Path, Query};
use crate::parts::App;
use crate::person::Person;

pub(super) type StoredType = Named<LabelTypeSettings>;

/// A label type by its name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LabelTypeView {
    pub name: String,
    /// Grows with every change.
    pub rev: u64,
    #[serde(flatten)]
    pub settings: LabelTypeBody,
    /// Somebody wants a training: the next sweep starts it.
    #[serde(default)]
    pub train_now: bool,
    /// The last training that was started by itself.
    #[serde(default)]
    pub last_training: Option<PeriodicTrainingView>,
}

/// A training that was started because the last one was old, or somebody wanted one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeriodicTrainingView {
    pub at: DateTime<Utc>,
    /// Directory of its data set and of its project; null when there was not enough to learn from.
    pub dir: Option<String>,
    /// How many images had a class then.
    pub n_labelled: u64,
    /// What came of it: `started`, or why it was not.
    pub outcome: String,
}

impl From<PeriodicTraining> for PeriodicTrainingView {
    fn from(it: PeriodicTraining) -> Self {
        Self {
            at: it.at,
            dir: it.dir.as_ref().map(ToString::to_string),
            n_labelled: it.n_labelled,
            outcome: it.outcome,
        }
    }
}

/// What a label type says.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelTypeBody {
    /// For people; the name when empty.
    #[serde(default)]
    pub title: String,
    /// 0 base, 1100 classification, 1101 two classes, 1200 recognition, 1300 segmentation, 1310 semantic,
    /// 1320 instance and 1330 panoptic segmentation, 1400 caption.
    pub algorithm: u32,
    /// Names of the answers, in the order of a model's outputs.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The model that pre-annotates; null: none does. A classifier, or of cells a detector alone.
    #[serde(default)]
    pub mid: Option<u64>,
    /// The detector that finds the cells which a classifier names; null: the classical finder does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<u64>,
    /// A training is proposed when the last one is this many days old, 1 to 3650.
    #[serde(default)]
    pub training_interval_days: Option<u32>,
}

impl From<LabelTypeSettings> for LabelTypeBody {
    fn from(it: LabelTypeSettings) -> Self {
        Self {
            title: it.title,
            algorithm: it.algorithm,
            labels: it.labels,
            mid: it.mid,
            detector: it.detector,
            training_interval_days: it.training_interval_days,
        }
    }
}

impl From<StoredType> for LabelTypeView {
    fn from(it: StoredType) -> Self {
        Self {
            name: it.name,
            rev: it.stamp.rev,
            train_now: it.value.train_now,
            last_training: it.value.last_training.clone().map(Into::into),
            settings: it.value.into(),
        }
    }
}

/// All label types, by name.
#[utoipa::path(get, path = "/api/v1/label-types", tag = "labels", params(PageQuery),
    responses((status = 200, body = Page<LabelTypeView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_label_types(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<LabelTypeView>>, Error> {
    let limit = page.limit()?;
    let after = page.after(|it| TableName::parse(it).ok())?;
    let after = after.map(|name| ObjectKey::LabelType(name).to_path());
    let prefixes = [Prefix::LabelTypes.to_path()];
    let is_type = |key: &ObjectKey| matches!(key, ObjectKey::LabelType(_));
    let types = documents::<StoredType, _>(&app.store, &prefixes, after.as_deref(), is_type);
    let items: Vec<LabelTypeView> = types
        .map_ok(|it| it.value.into())
        .take(limit + 1)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.name.clone())))
}

/// One label type.
#[utoipa::path(get, path = "/api/v1/label-types/{name}", tag = "labels",
    params(("name" = String, Path)),
    responses((status = 200, body = LabelTypeView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_label_type(
    State(app): State<App>,
    Path(name): Path<TableName>,
) -> Result<Json<LabelTypeView>, Error> {
    let key = ObjectKey::LabelType(name.clone());
    match app.store.read::<StoredType>(&key).await? {
        Some(stored) => Ok(Json(stored.value.into())),
        None => Err(no_label_type(&name)),
    }
}

fn no_label_type(name: &TableName) -> Error {
    Error::not_found(format!("label type `{name}`"))
}

/// Refuses a request that names a label type which is not there.
pub(super) async fn check_exists(app: &App, name: &TableName) -> Result<(), Error> {
    let key = ObjectKey::LabelType(name.clone());
    if app.store.head(&key).await?.is_some() {
        return Ok(());
    }
    Err(unknown(name))
}

pub(super) fn unknown(name: &TableName) -> Error {
    Error::Refused {
        code: "unknown_label_type",
        message: format!("there is no label type `{name}`"),
        hint: Some("define it first: `cellmill label-type set`, or PUT /api/v1/label-types/{name}"),
    }
}

/// All label types; there are few.
pub(super) async fn stored_types(app: &App) -> Result<Vec<StoredType>, Error> {
    let prefixes = [Prefix::LabelTypes.to_path()];
    let is_type = |key: &ObjectKey| matches!(key, ObjectKey::LabelType(_));
    let types = documents::<StoredType, _>(&app.store, &prefixes, None, is_type);
    Ok(types.map_ok(|it| it.value).try_collect().await?)
}

/// Defines a label type. What it knows of its trainings stays.
#[utoipa::path(put, path = "/api/v1/label-types/{name}", tag = "labels",
    params(("name" = String, Path)), request_body = LabelTypeBody,
    responses((status = 200, body = LabelTypeView), (status = "default", body = ErrorBody)))]
pub(crate) async fn put_label_type(
    State(app): State<App>,
    person: Person,
    Path(name): Path<TableName>,
    JsonBody(body): JsonBody<LabelTypeBody>,
) -> Result<Json<LabelTypeView>, Error> {
    let settings = checked(&app, &name, body).await?;
    let key = ObjectKey::LabelType(name.clone());
    let swapped = app
        .store
        .swap(&key, |stored: Option<&StoredType>| match stored {
            Some(stored) => {
                let value = LabelTypeSettings {
                    train_now: stored.value.train_now,
                    last_training: stored.value.last_training.clone(),
                    ..settings.clone()
                };
                if stored.value == value {
                    return Decision::Keep;
                }
                Decision::Write(Named {
                    value,
                    ..stored.clone()
                })
            }
            None => Decision::Write(Named {
                stamp: Stamp::default(),
                name: name.to_string(),
                value: settings.clone(),
            }),
        })
        .await?;
    if swapped.changed {
        let details = json!({ "settings": settings });
        let subject = key.to_path();
        audit::record_done(&app.store, &person.id, "label_type.put", &subject, details).await;
    }
    match swapped.stored {
        Some(stored) => Ok(Json(stored.value.into())),
        None => Err(no_label_type(&name)),
    }
}

/// Wants a training of a label type of whole images now: the next sweep starts it, however old the last one
/// is.
#[utoipa::path(post, path = "/api/v1/label-types/{name}/train", tag = "labels",
    params(("name" = String, Path)),
    responses((status = 200, body = LabelTypeView), (status = "default", body = ErrorBody)))]
pub(crate) async fn train_label_type(
    State(app): State<App>,
    person: Person,
    Path(name): Path<TableName>,
) -> Result<Json<LabelTypeView>, Error> {
    let key = ObjectKey::LabelType(name.clone());
    let swapped = app
        .store
        .swap(&key, |stored: Option<&StoredType>| match stored {
            Some(stored) if is_of_images(&stored.value) && !stored.value.train_now => {
                let mut next = stored.clone();
                next.value.train_now = true;
                Decision::Write(next)
            }
            _ => Decision::Keep,
        })
        .await?;
    let Some(stored) = swapped.stored else {
        return Err(no_label_type(&name));
    };
    if !is_of_images(&stored.value.value) {
        let message = format!(
            "label type `{name}` has the algorithm {}: only classes of whole images (1100, 1101) are trained by themselves",
            stored.value.value.algorithm
        );
        return Err(Error::conflict("not_trainable", message));
    }
    if swapped.changed {
        let subject = key.to_path();
        let details = json!({});
        audit::record_done(
            &app.store,
            &person.id,
            "label_type.train",
            &subject,
            details,
        )
        .await;
    }
    Ok(Json(stored.value.into()))
}

fn is_of_images(settings: &LabelTypeSettings) -> bool {
    matches!(
        LabelType::from_code(settings.algorithm),
        Some(LabelType::Classification | LabelType::TwoClass)
    )
}

/// The longest time between two trainings, in days: ten years.
const MAX_INTERVAL_DAYS: u32 = 3650;

async fn checked(
    app: &App,
    name: &TableName,
    body: LabelTypeBody,
) -> Result<LabelTypeSettings, Error> {
    let Some(algorithm) = LabelType::from_code(body.algorithm) else {
        let message = format!("`algorithm` {} is no kind of label", body.algorithm);
        return Err(Error::refused("bad_algorithm", message));
    };
    if algorithm == LabelType::TwoClass && body.labels.len() != 2 {
        let message = format!(
            "a label of two classes has 2 `labels`, not {}",
            body.labels.len()
        );
        return Err(Error::refused("bad_labels", message));
    }
    if let Some(days) = body.training_interval_days
        && !(1..=MAX_INTERVAL_DAYS).contains(&days)
    {
        let message =
            format!("`training_interval_days` is {days}, it goes from 1 to {MAX_INTERVAL_DAYS}");
        return Err(Error::refused("bad_parameter", message));
    }
    if let Some(mid) = body.mid {
        let card = models::usable_of_any_kind(app, mid).await?;
        check_fits(name, algorithm.code(), &body.labels, &card)?;
        if card.kind == ModelKind::Detector && body.detector.is_some() {
            let message = format!("model {mid} finds cells itself: leave `detector` out");
            return Err(Error::refused("bad_parameter", message));
        }
    }
    if let Some(detector) = body.detector {
        let card = models::usable_detector(app, detector).await?;
        models::check_own(&card)?;
        if !is_of_cells(algorithm) {
            let message =
                format!("label type `{name}` is about whole images, no detector looks at them");
            return Err(Error::refused("bad_parameter", message));
        }
    }
    let title = if body.title.is_empty() {
        name.to_string()
    } else {
        body.title
    };
    Ok(LabelTypeSettings {
        title,
        algorithm: algorithm.code(),
        labels: body.labels,
        mid: body.mid,
        detector: body.detector,
        training_interval_days: body.training_interval_days,
        train_now: false,
        last_training: None,
    })
}

/// Whether a label names cells, and not the image as a whole.
const fn is_of_cells(label: LabelType) -> bool {
    matches!(label, LabelType::Base | LabelType::Recognition)
}

/// Refuses a model that can't answer what a label type asks.
pub(super) fn check_fits(
    name: &TableName,
    algorithm: u32,
    labels: &[String],
    card: &ModelCard,
) -> Result<(), Error> {
    models::check_own(card)?;
    let is_answered = match card.kind {
        ModelKind::Classifier => true,
        ModelKind::Detector => LabelType::from_code(algorithm).is_some_and(is_of_cells),
        ModelKind::Segmenter => false,
    };
    if !is_answered {
        let kind = card.kind.as_str();
        let message = format!(
            "label type `{name}` asks for something else than model {} says, which is a {kind}",
            card.mid
        );
        return Err(Error::refused("wrong_kind", message));
    }
    let n_classes = card.classes.len();
    if LabelType::from_code(algorithm) == Some(LabelType::TwoClass) && n_classes != 2 {
        let message = format!(
            "label type `{name}` has two classes, model {} has {n_classes}",
            card.mid
        );
        return Err(Error::refused("classes_differ", message));
    }
    let is_label =
        |class: &str| labels.is_empty() || labels.iter().any(|it| it.eq_ignore_ascii_case(class));
    if !card.classes.iter().any(|it| is_label(&it.name)) {
        let answers: Vec<&str> = card.classes.iter().map(|it| it.name.as_str()).collect();
        let message = format!(
            "label type `{name}` asks for {}, model {} knows none of them: it answers {}",
            labels.join(", "),
            card.mid,
            answers.join(", ")
        );
        return Err(Error::refused("classes_differ", message));
    }
    Ok(())
}
