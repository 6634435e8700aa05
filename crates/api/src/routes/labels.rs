//! Label documents: what is shown of them, and what a person changes.

use axum::extract::State;
use cellmill_core::boxes::BBox;
use cellmill_core::classes::MAX_CLASS_ID;
use cellmill_core::ids::UlidText;
use cellmill_core::keys::{ImageKey, ObjectKey};
use cellmill_core::label::{
    CellId, Change, Folded, ImageClass, LabelDocument, LabelledCell, Operation, Place, fold,
};
use cellmill_store::Decision;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::images::{ImageQuery, read_record};
use crate::audit;
use crate::edge::{Error, ErrorBody, Json, JsonBody, Query};
use crate::parts::App;
use crate::person::Person;

/// A box in pixels of the upright image; right and bottom are exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BoxView {
    pub x1: u32,
    pub y1: u32,
    pub x2: u32,
    pub y2: u32,
}

impl From<BBox> for BoxView {
    fn from(it: BBox) -> Self {
        let BBox { x1, y1, x2, y2 } = it;
        Self { x1, y1, x2, y2 }
    }
}

/// A cell as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CellView {
    /// Names it in a person's operations.
    pub id: String,
    /// Its centre.
    pub x: u32,
    pub y: u32,
    pub bbox: Option<BoxView>,
    pub class: u32,
    /// The certainty of the model that found it, 0 to 1.
    pub score: Option<f64>,
    /// Who spoke last about it: `csv/<date>`, `model/<mid>`, `person/<user>`.
    pub source: String,
    /// It repeats an earlier row of the CSV.
    pub duplicate: bool,
    /// Another row of the CSV gives this place another class.
    pub conflict: bool,
}

/// The class of the whole image.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImageClassView {
    pub class: u32,
    pub score: Option<f64>,
    pub source: String,
}

/// A label: the document with all its layers, and what is shown of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LabelView {
    /// The revision to base operations on.
    pub rev: u64,
    /// The document as it is stored.
    #[schema(value_type = Object)]
    pub document: serde_json::Value,
    pub cells: Vec<CellView>,
    pub image_class: Option<ImageClassView>,
    /// Operations whose cell is not there any more.
    pub unmatched: Vec<String>,
}

/// What a person does to a label.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EditLabel {
    /// All are taken or none.
    pub operations: Vec<OperationBody>,
}

/// One decision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OperationBody {
    /// A ULID of the sender's making. A repeated request repeats it and counts once.
    pub id: String,
    /// The revision that the person saw.
    pub rev: u64,
    #[serde(flatten)]
    pub change: ChangeBody,
}

/// What is changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ChangeBody {
    /// There is a cell that nobody marked.
    Add {
        x: u32,
        y: u32,
        bbox: Option<BoxView>,
        class: u32,
    },
    /// This is no cell.
    Delete { cell: String },
    /// Another class, another place, or both.
    Modify {
        cell: String,
        class: Option<u32>,
        place: Option<PlaceBody>,
    },
    /// The class of the whole image; null takes it away.
    SetImageClass { class: Option<u32> },
}

/// Where a cell is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlaceBody {
    /// Centre.
    pub x: u32,
    pub y: u32,
    pub bbox: Option<BoxView>,
}

/// The label of an image.
#[utoipa::path(get, path = "/api/v1/image/label", tag = "labels", params(ImageQuery),
    responses((status = 200, body = LabelView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_label(
    State(app): State<App>,
    Query(query): Query<ImageQuery>,
) -> Result<Json<LabelView>, Error> {
    let stored = app.store.read(&ObjectKey::Label(query.key.clone())).await?;
    match stored {
        Some(stored) => Ok(Json(shown(&stored.value)?)),
        None => Err(no_label(&query.key)),
    }
}

/// A person's operations on the label of an image, in the person's own layer.
#[utoipa::path(post, path = "/api/v1/image/label", tag = "labels", params(ImageQuery),
    request_body = EditLabel,
    responses((status = 200, body = LabelView), (status = "default", body = ErrorBody)))]
pub(crate) async fn edit_label(
    State(app): State<App>,
    person: Person,
    Query(query): Query<ImageQuery>,
    JsonBody(edit): JsonBody<EditLabel>,
) -> Result<Json<LabelView>, Error> {
    let size = read_record(&app, &query.key).await?.picture;
    let size = size.map(|it| (it.width, it.height));
    let operations: Vec<Operation> = edit
        .operations
        .into_iter()
        .map(|it| it.checked(size))
        .collect::<Result<_, _>>()?;
    let key = ObjectKey::Label(query.key.clone());
    let mut refusal = None;
    let swapped = app
        .store
        .swap(&key, |document: Option<&LabelDocument>| {
            refusal = None;
            let Some(document) = document else {
                return Decision::Keep;
            };
            match edited(document, &person.id, &operations) {
                Ok(Some(next)) => Decision::Write(next),
                Ok(None) => Decision::Keep,
                Err(error) => {
                    refusal = Some(error);
                    Decision::Keep
                }
            }
        })
        .await?;
    if let Some(refusal) = refusal.filter(|_| !swapped.changed) {
        return Err(refusal);
    }
    let Some(stored) = swapped.stored else {
        return Err(no_label(&query.key));
    };
    if swapped.changed {
        let details = json!({ "rev": stored.value.stamp.rev, "operations": operations });
        audit::record_done(
            &app.store,
            &person.id,
            "label.edit",
            &key.to_path(),
            details,
        )
        .await;
    }
    Ok(Json(shown(&stored.value)?))
}

fn no_label(key: &ImageKey) -> Error {
    Error::not_found(format!("label of `{key}`"))
}

/// The document with the operations that it does not hold yet; `None` when it holds them all.
fn edited(
    document: &LabelDocument,
    user: &str,
    operations: &[Operation],
) -> Result<Option<LabelDocument>, Error> {
    let mut next = document.clone();
    let fresh: Vec<&Operation> = operations
        .iter()
        .filter(|it| next.record(user, (*it).clone()))
        .collect();
    if fresh.is_empty() {
        return Ok(None);
    }
    let rev = document.stamp.rev;
    if let Some(stale) = fresh.iter().find(|it| it.rev != rev) {
        let message = format!(
            "the label is at revision {rev} now, the operation `{}` is based on {}: read it again",
            stale.id, stale.rev
        );
        return Err(Error::conflict("stale", message));
    }
    let unmatched = fold(&next).unmatched;
    if let Some(lost) = fresh.iter().find(|it| unmatched.contains(&it.id)) {
        let message = format!("the cell of operation `{}` is not in the label", lost.id);
        return Err(Error::refused("unknown_cell", message));
    }
    Ok(Some(next))
}

impl OperationBody {
    /// Checks the numbers against the image's size, where it is known.
    fn checked(self, size: Option<(u32, u32)>) -> Result<Operation, Error> {
        let id =
            UlidText::parse(&self.id).map_err(|it| Error::refused("bad_id", it.to_string()))?;
        let change = match self.change {
            ChangeBody::Add { x, y, bbox, class } => Change::Add {
                place: checked_place(PlaceBody { x, y, bbox }, size)?,
                class: checked_class(class)?,
            },
            ChangeBody::Delete { cell } => Change::Delete { cell: CellId(cell) },
            ChangeBody::Modify { cell, class, place } => Change::Modify {
                cell: CellId(cell),
                class: class.map(checked_class).transpose()?,
                place: place.map(|it| checked_place(it, size)).transpose()?,
            },
            ChangeBody::SetImageClass { class } => Change::SetImageClass {
                class: class.map(checked_class).transpose()?,
            },
        };
        Ok(Operation {
            id: id.to_string(),
            rev: self.rev,
            change,
        })
    }
}

fn checked_class(class: u32) -> Result<u32, Error> {
    if (1..=MAX_CLASS_ID).contains(&class) {
        return Ok(class);
    }
    let message = format!("class {class} is not between 1 and {MAX_CLASS_ID}");
    Err(Error::refused("bad_class", message))
}

fn checked_place(place: PlaceBody, size: Option<(u32, u32)>) -> Result<Place, Error> {
    let (width, height) = size.unwrap_or((u32::MAX, u32::MAX));
    let outside = |what: &str| {
        let message = format!("the {what} is not inside the image of {width} x {height} pixels");
        Error::refused("out_of_image", message)
    };
    if place.x >= width || place.y >= height {
        return Err(outside("centre"));
    }
    let bbox = match place.bbox {
        None => None,
        Some(BoxView { x1, y1, x2, y2 }) => {
            if x1 >= x2 || y1 >= y2 || x2 > width || y2 > height {
                return Err(outside("box"));
            }
            Some(BBox { x1, y1, x2, y2 })
        }
    };
    Ok(Place {
        x: place.x,
        y: place.y,
        bbox,
    })
}

fn shown(document: &LabelDocument) -> Result<LabelView, Error> {
    let Folded {
        cells,
        image_class,
        unmatched,
    } = fold(document);
    Ok(LabelView {
        rev: document.stamp.rev,
        document: serde_json::to_value(document).map_err(Error::internal)?,
        cells: cells.into_iter().map(CellView::from).collect(),
        image_class: image_class.map(ImageClassView::from),
        unmatched,
    })
}

impl From<LabelledCell> for CellView {
    fn from(cell: LabelledCell) -> Self {
        Self {
            id: cell.id.0,
            x: cell.place.x,
            y: cell.place.y,
            bbox: cell.place.bbox.map(BoxView::from),
            class: cell.class,
            score: cell.score,
            source: cell.source.to_string(),
            duplicate: cell.duplicate,
            conflict: cell.conflict,
        }
    }
}

impl From<ImageClass> for ImageClassView {
    fn from(it: ImageClass) -> Self {
        Self {
            class: it.class,
            score: it.score,
            source: it.source.to_string(),
        }
    }
}
