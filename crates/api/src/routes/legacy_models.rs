//! Models of the predecessor: files in the shared folder that only its workers can open.

use axum::extract::State;
use cellmill_core::keys::{ModelKey, NumberKind, ObjectKey};
use cellmill_core::legacy::model_type_name;
use cellmill_core::messages::UnitClass;
use cellmill_core::model::ModelCard;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::datasets::long_description;
use super::models::{ModelView, card_key};
use super::uploads::hash_of;
use super::{legacy, network_rules};
use crate::audit;
use crate::edge::{Error, ErrorBody, Json, JsonBody};
use crate::parts::App;
use crate::person::Person;

/// A file under `modules/` that the predecessor's workers can open.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLegacyModel {
    #[serde(default)]
    pub description: String,
    /// The kind of the model, by which workers ask for its jobs: 1 unet, 2 gan, 3 svm, 4 mask r-cnn, 5 autokeras,
    /// 6 mala, 7 yolov4, 8 yolov5.
    pub mtype: u8,
    /// Where it lies already: `detector/deepretina_final.h5`, below `modules/`.
    pub file: String,
    /// Side of the network's input in pixels.
    #[serde(default = "default_side")]
    pub side: u32,
}

/// What the classifiers of the predecessor see (FORMATS A.10).
const fn default_side() -> u32 {
    64
}

impl NewLegacyModel {
    fn checked(&self) -> Result<ModelKey, Error> {
        let mut problems: Vec<String> = long_description(&self.description).into_iter().collect();
        if model_type_name(self.mtype).is_none() {
            problems.push(format!("`mtype` is {}, it goes from 1 to 8", self.mtype));
        }
        network_rules::within("side", self.side, &network_rules::SIDES, &mut problems);
        let key = ModelKey::parse_name(&self.file);
        if key.is_none() {
            problems.push(format!(
                "`file` `{}` is no model file such as `detector/deepretina_final.h5`",
                cellmill_core::ids::shown(&self.file)
            ));
        }
        match key {
            Some(key) if problems.is_empty() => Ok(key),
            _ => Err(Error::refused("bad_parameter", problems.join("; "))),
        }
    }
}

/// Registers a file of the shared folder as a model of the predecessor. Its jobs wait for the predecessor's workers.
#[utoipa::path(post, path = "/api/v1/models/legacy", tag = "models", request_body = NewLegacyModel,
    responses((status = 201, body = ModelView), (status = "default", body = ErrorBody)))]
pub(crate) async fn register_legacy_model(
    State(app): State<App>,
    person: Person,
    JsonBody(new): JsonBody<NewLegacyModel>,
) -> Result<(StatusCode, Json<ModelView>), Error> {
    legacy::check_served(&app)?;
    let file = ObjectKey::Model(new.checked()?);
    let Some(head) = app.store.head(&file).await? else {
        return Err(Error::Refused {
            code: "file_missing",
            message: format!("there is no file `{file}`"),
            hint: Some("copy it there first: the folder is shared with the workers"),
        });
    };
    let sha256 = hash_of(&app.store, &file).await?;
    let mid = app
        .store
        .take_number(NumberKind::Models, "", &new.description, &person.id)
        .await?;
    let mut card = ModelCard::of_file(mid, file.to_path(), head.size, sha256.to_string());
    card.description = new.description;
    card.input.side = new.side;
    model_type_name(new.mtype)
        .unwrap_or_default()
        .clone_into(&mut card.family);
    UnitClass::legacy()
        .as_str()
        .clone_into(&mut card.unit_class);
    card.mtype = Some(new.mtype);
    let key = card_key(mid);
    let stored = app.store.create(&key, card).await?.into_stored();
    let details = json!({ "file": stored.value.file, "sha256": stored.value.sha256 });
    audit::record_done(
        &app.store,
        &person.id,
        "model.create",
        &key.to_path(),
        details,
    )
    .await;
    Ok((StatusCode::CREATED, Json(stored.value.into())))
}
