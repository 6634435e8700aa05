//! What is shown of a label document: persons over the latest date over models.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::document::LabelDocument;
use super::layers::{Change, CsvLayer, LayerName, Layers, ModelBox, Operation, Place};
use crate::boxes::BBox;
use crate::ids::PointsDate;
use crate::points::PointRow;

/// What stands after all layers were laid over each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Folded {
    /// The base in its own order, then what people added.
    pub cells: Vec<LabelledCell>,
    pub image_class: Option<ImageClass>,
    /// Ids of operations whose cell is not there (any more).
    pub unmatched: Vec<String>,
}

/// A cell, and who put it there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelledCell {
    pub id: CellId,
    /// Centre and box in pixels of the upright image.
    #[serde(flatten)]
    pub place: Place,
    pub class: u32,
    /// The certainty of the model that found it, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Who spoke last about this cell.
    pub source: LayerName,
    /// It repeats an earlier row of the CSV (decision 18).
    #[serde(default)]
    pub duplicate: bool,
    /// Another row of the CSV gives this place another class.
    #[serde(default)]
    pub conflict: bool,
}

/// The class of a whole image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageClass {
    pub class: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    pub source: LayerName,
}

/// How an operation names a cell.
///
/// It is made of where the cell is, not of a line number or a date: so a correction that a person made still finds its
/// cell when the doctor's CSV comes again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellId(pub String);

impl CellId {
    /// A doctor's point: `p<x>,<y>`.
    pub fn of_point(x: u32, y: u32) -> Self {
        Self(format!("p{x},{y}"))
    }

    /// A detection: `m<mid>:<x1>,<y1>,<x2>,<y2>`.
    pub fn of_detection(mid: u64, bbox: &BBox) -> Self {
        Self(format!(
            "m{mid}:{},{},{},{}",
            bbox.x1, bbox.y1, bbox.x2, bbox.y2
        ))
    }

    /// A cell that a person added with this operation: `a<operation>`.
    pub fn of_added(operation: &str) -> Self {
        Self(format!("a{operation}"))
    }

    /// The second, third, ... of the same name: `p100,120#2`.
    fn nth(&self, n: usize) -> Self {
        if n == 1 {
            self.clone()
        } else {
            Self(format!("{}#{n}", self.0))
        }
    }
}

/// Lays all layers over each other.
///
/// - **Base.** The CSV of the latest date alone, when there is one: it replaces earlier dates and all models, also when it
///   has no rows. Else the boxes of the model with the highest number that looks for cells.
/// - **Latest date.** `2019-7-22`, `2019-07-22` and `20190722` are compared as dates, and are later than any text that is
///   no date; equal dates and other texts are compared as text.
/// - **Class of the image.** That of the model with the highest number that gives one.
/// - **Persons.** Their operations edit that, in the order of (revision seen, id, user): the last word about a cell or an
///   image stands. An operation whose cell is not there changes nothing and is listed in [`Folded::unmatched`].
///
/// The answer depends on what the layers say, never on the order in which they came.
pub fn fold(document: &LabelDocument) -> Folded {
    let layers = &document.layers;
    let mut cells = Cells::new(base(layers));
    let mut image_class = layers
        .model
        .iter()
        .rev()
        .find_map(|(mid, layer)| layer.class_of_image(*mid));
    let mut unmatched = Vec::new();
    for (user, operation) in operations(layers) {
        let source = LayerName::Person(user.to_owned());
        let is_matched = match &operation.change {
            Change::SetImageClass { class } => {
                image_class = class.map(|class| ImageClass {
                    class,
                    score: None,
                    source,
                });
                true
            }
            Change::Add { place, class } => cells.add(&operation.id, *place, *class, source),
            Change::Delete { cell } => cells.delete(cell),
            Change::Modify { cell, class, place } => cells.modify(cell, *class, *place, source),
        };
        if !is_matched {
            unmatched.push(operation.id.clone());
        }
    }
    Folded {
        cells: cells.into_vec(),
        image_class,
        unmatched,
    }
}

/// What persons edit.
fn base(layers: &Layers) -> Vec<LabelledCell> {
    let latest = layers.csv.iter().max_by_key(|(date, _)| date_order(date));
    if let Some((date, layer)) = latest {
        return of_points(date, layer);
    }
    let newest = layers
        .model
        .iter()
        .rev()
        .find_map(|(mid, layer)| Some((*mid, layer.boxes.as_ref()?)));
    newest.map_or_else(Vec::new, |(mid, boxes)| of_detections(mid, boxes))
}

/// Does the CSV of date `a` replace that of date `b`? See [`fold`].
pub fn is_later(a: &PointsDate, b: &PointsDate) -> bool {
    date_order(a) > date_order(b)
}

/// Dates before texts, by day, then by text.
fn date_order(date: &PointsDate) -> (Option<NaiveDate>, &str) {
    (calendar_day(date.as_str()), date.as_str())
}

fn calendar_day(text: &str) -> Option<NaiveDate> {
    let is_plain = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    let fields: Vec<&str> = text.split('-').collect();
    let (year, month, day) = match fields[..] {
        [year, month, day] => (year, month, day),
        [packed] if packed.len() == 8 && is_plain(packed) => {
            (&packed[..4], &packed[4..6], &packed[6..])
        }
        _ => return None,
    };
    let all_plain = [year, month, day].into_iter().all(is_plain);
    all_plain.then(|| {
        NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
    })?
}

fn of_points(date: &PointsDate, layer: &CsvLayer) -> Vec<LabelledCell> {
    let cell = |row: &PointRow| LabelledCell {
        id: CellId::of_point(row.x, row.y),
        place: Place {
            x: row.x,
            y: row.y,
            bbox: row.bbox,
        },
        class: row.class,
        score: None,
        source: LayerName::Csv(date.clone()),
        duplicate: row.duplicate,
        conflict: row.conflict,
    };
    layer.rows.iter().map(cell).collect()
}

fn of_detections(mid: u64, boxes: &[ModelBox]) -> Vec<LabelledCell> {
    let cell = |it: &ModelBox| LabelledCell {
        id: CellId::of_detection(mid, &it.bbox),
        place: Place::of_box(it.bbox),
        class: it.class,
        score: Some(it.score),
        source: LayerName::Model(mid),
        duplicate: false,
        conflict: false,
    };
    boxes.iter().map(cell).collect()
}

/// The operations of all persons in their one order, each once.
fn operations(layers: &Layers) -> Vec<(&str, &Operation)> {
    let mut all: Vec<(&str, &Operation)> = Vec::new();
    for (user, layer) in &layers.person {
        all.extend(layer.operations.iter().map(|it| (user.as_str(), it)));
    }
    all.sort_by_key(|(user, it)| (it.rev, &it.id, *user));
    let mut seen = BTreeSet::new();
    all.retain(|(user, it)| seen.insert((*user, &it.id)));
    all
}

/// Cells with places to find and leave them by id.
struct Cells {
    cells: Vec<Option<LabelledCell>>,
    at: BTreeMap<CellId, usize>,
}

impl Cells {
    fn new(base: Vec<LabelledCell>) -> Self {
        let mut made = Self {
            cells: Vec::with_capacity(base.len()),
            at: BTreeMap::new(),
        };
        let mut repeats: BTreeMap<CellId, usize> = BTreeMap::new();
        for mut cell in base {
            let n = repeats.entry(cell.id.clone()).or_default();
            *n += 1;
            cell.id = cell.id.nth(*n);
            made.push(cell);
        }
        made
    }

    fn push(&mut self, cell: LabelledCell) {
        self.at.insert(cell.id.clone(), self.cells.len());
        self.cells.push(Some(cell));
    }

    fn add(&mut self, operation: &str, place: Place, class: u32, source: LayerName) -> bool {
        let id = CellId::of_added(operation);
        self.push(LabelledCell {
            id,
            place,
            class,
            score: None,
            source,
            duplicate: false,
            conflict: false,
        });
        true
    }

    fn delete(&mut self, id: &CellId) -> bool {
        self.at
            .remove(id)
            .is_some_and(|at| self.cells[at].take().is_some())
    }

    fn modify(
        &mut self,
        id: &CellId,
        class: Option<u32>,
        place: Option<Place>,
        source: LayerName,
    ) -> bool {
        let Some(cell) = self.at.get(id).and_then(|&at| self.cells[at].as_mut()) else {
            return false;
        };
        cell.class = class.unwrap_or(cell.class);
        cell.place = place.unwrap_or(cell.place);
        cell.source = source;
        // A person has decided; what was odd about the row is settled.
        (cell.score, cell.duplicate, cell.conflict) = (None, false, false);
        true
    }

    fn into_vec(self) -> Vec<LabelledCell> {
        self.cells.into_iter().flatten().collect()
    }
}
