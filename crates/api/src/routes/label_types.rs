//! Label types: how images are labelled, and by which model they are pre-annotated.

use axum::extract::State;
use cellmill_core::document::Stamp;
use cellmill_core::ids::TableName;
use cellmill_core::keys::{NumberKind, ObjectKey, Prefix};
use cellmill_core::label::LabelType;
use cellmill_core::records::{LabelTypeSettings, Named};
use cellmill_store::Decision;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::documents::documents;
use crate::audit;
use crate::edge::{Error, ErrorBody, Json, JsonBody, Page, PageQuery, Path, Query};
use crate::parts::App;
use crate::person::Person;

type StoredType = Named<LabelTypeSettings>;

/// A label type by its name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LabelTypeView {
    pub name: String,
    /// Grows with every change.
    pub rev: u64,
    #[serde(flatten)]
    pub settings: LabelTypeBody,
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
    /// The model that pre-annotates.
    #[serde(default)]
    pub mid: Option<u64>,
    /// A training is proposed when the last one is this many days old.
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
            training_interval_days: it.training_interval_days,
        }
    }
}

impl From<StoredType> for LabelTypeView {
    fn from(it: StoredType) -> Self {
        Self {
            name: it.name,
            rev: it.stamp.rev,
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
        None => Err(Error::not_found(format!("label type `{name}`"))),
    }
}

/// Defines a label type.
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
            Some(stored) if stored.value == settings => Decision::Keep,
            Some(stored) => Decision::Write(Named {
                value: settings.clone(),
                ..stored.clone()
            }),
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
        None => Err(Error::not_found(format!("label type `{name}`"))),
    }
}

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
    if let Some(mid) = body.mid
        && app
            .store
            .head(&ObjectKey::Number(NumberKind::Models, mid))
            .await?
            .is_none()
    {
        return Err(Error::refused(
            "unknown_model",
            format!("there is no model {mid}"),
        ));
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
        training_interval_days: body.training_interval_days,
        train_now: false,
        last_training: None,
    })
}
