//! The layers of a label document: one per source, each written by its source alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fold::{CellId, ImageClass};
use crate::boxes::BBox;
use crate::ids::{IdError, PointsDate, shown};
use crate::points::PointRow;

/// Who says it: `csv/<date>`, `model/<mid>` or `person/<user>`.
///
/// ```
/// use cellmill_core::label::LayerName;
/// let name: LayerName = "csv/2019-7-22".parse().unwrap();
/// assert_eq!(name.to_string(), "csv/2019-7-22");
/// assert!("doctor/7".parse::<LayerName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LayerName {
    /// Doctors' points of one date folder.
    Csv(PointsDate),
    /// What the model of this number found.
    Model(u64),
    /// What a user did.
    Person(String),
}

/// A text that names no layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no layer, layers are `csv/<date>`, `model/<mid>` and `person/<user>`")]
pub struct LayerNameError {
    /// The text, shortened.
    pub text: String,
    #[source]
    pub source: Option<IdError>,
}

impl LayerName {
    /// Was it a model that spoke, and neither a person nor a doctor's file?
    pub const fn is_model(&self) -> bool {
        matches!(self, Self::Model(_))
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csv(date) => write!(f, "csv/{date}"),
            Self::Model(mid) => write!(f, "model/{mid}"),
            Self::Person(user) => write!(f, "person/{user}"),
        }
    }
}

impl std::str::FromStr for LayerName {
    type Err = LayerNameError;

    fn from_str(text: &str) -> Result<Self, LayerNameError> {
        let refuse = |source| LayerNameError {
            text: shown(text),
            source,
        };
        match text.split_once('/') {
            Some(("csv", date)) => PointsDate::parse(date)
                .map(Self::Csv)
                .map_err(|it| refuse(Some(it))),
            Some(("model", mid)) if mid.bytes().all(|b| b.is_ascii_digit()) => {
                mid.parse().map(Self::Model).map_err(|_| refuse(None))
            }
            Some(("person", user)) if !user.is_empty() => Ok(Self::Person(user.to_owned())),
            _ => Err(refuse(None)),
        }
    }
}

impl From<LayerName> for String {
    fn from(name: LayerName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for LayerName {
    type Error = LayerNameError;

    fn try_from(text: String) -> Result<Self, LayerNameError> {
        text.parse()
    }
}

/// All layers of a document, by the kind of their source. In JSON they are one object with [`LayerName`]s as keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    pub csv: BTreeMap<PointsDate, CsvLayer>,
    pub model: BTreeMap<u64, ModelLayer>,
    pub person: BTreeMap<String, PersonLayer>,
}

/// The good rows of one CSV, replaced whole when the file changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvLayer {
    /// In the order of the file.
    pub rows: Vec<PointRow>,
    /// Which bytes were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    pub sha256: String,
    /// Rows that could not be used; the CSV's record lists them.
    #[serde(default)]
    pub n_rejected: u64,
}

/// What a model found, replaced whole by its next run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelLayer {
    /// `None`: the model says nothing about cells (it classifies whole images). Empty: it found none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<Vec<ModelBox>>,
    /// The image's class and the model's certainty of it, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_class: Option<(u32, f64)>,
}

/// One detection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelBox {
    #[serde(flatten)]
    pub bbox: BBox,
    pub class: u32,
    /// 0 to 1.
    pub score: f64,
}

/// What one person did, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonLayer {
    pub operations: Vec<Operation>,
}

/// One decision of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Unique; ids made later sort later (a ULID). A repeated request repeats its id and counts once.
    pub id: String,
    /// The revision of the document that the person saw.
    pub rev: u64,
    #[serde(flatten)]
    pub change: Change,
}

/// What a person can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Change {
    /// A new cell; its id is [`CellId::of_added`].
    Add {
        #[serde(flatten)]
        place: Place,
        class: u32,
    },
    /// This is no cell.
    Delete { cell: CellId },
    /// Another class, another place, or both; what is absent stays.
    Modify {
        cell: CellId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
    },
    /// The class of the whole image; `None` takes it away.
    SetImageClass { class: Option<u32> },
}

/// Where a cell is, in pixels of the upright image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Centre.
    pub x: u32,
    pub y: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bbox: Option<BBox>,
}

impl Place {
    /// A box and the pixel at its centre.
    pub fn of_box(bbox: BBox) -> Self {
        let (x, y) = bbox.doubled_center();
        Self {
            x: (x / 2) as u32,
            y: (y / 2) as u32,
            bbox: Some(bbox),
        }
    }
}

impl ModelLayer {
    pub(super) fn class_of_image(&self, mid: u64) -> Option<ImageClass> {
        let (class, score) = self.image_class?;
        Some(ImageClass {
            class,
            score: Some(score),
            source: LayerName::Model(mid),
        })
    }
}

impl Layers {
    pub fn is_empty(&self) -> bool {
        self.csv.is_empty() && self.model.is_empty() && self.person.is_empty()
    }
}

impl Serialize for Layers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer
            .serialize_map(Some(self.csv.len() + self.model.len() + self.person.len()))?;
        for (date, layer) in &self.csv {
            map.serialize_entry(&LayerName::Csv(date.clone()), layer)?;
        }
        for (mid, layer) in &self.model {
            map.serialize_entry(&LayerName::Model(*mid), layer)?;
        }
        for (user, layer) in &self.person {
            map.serialize_entry(&LayerName::Person(user.clone()), layer)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LayersVisitor)
    }
}

/// The name of a layer says how its value is read.
struct LayersVisitor;

impl<'de> Visitor<'de> for LayersVisitor {
    type Value = Layers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("layers by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Layers, A::Error> {
        let mut layers = Layers::default();
        while let Some(name) = map.next_key()? {
            match name {
                LayerName::Csv(date) => drop(layers.csv.insert(date, map.next_value()?)),
                LayerName::Model(mid) => drop(layers.model.insert(mid, map.next_value()?)),
                LayerName::Person(user) => drop(layers.person.insert(user, map.next_value()?)),
            }
        }
        Ok(layers)
    }
}
