//! The document itself.

use serde::{Deserialize, Serialize};

use super::kinds::LabelState;
use super::layers::{CsvLayer, Layers, ModelLayer, Operation};
use crate::document::Stamp;
use crate::formats::lenient;
use crate::ids::PointsDate;
use crate::impl_document;
use crate::keys::ImageKey;

/// `labels/<image key>.label`.
///
/// Every source writes its own layer and no other, so it does not matter in which order they come, nor how often.
/// What is shown is [`fold`](super::fold::fold) of the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelDocument {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub image: ImageKey,
    /// The label type by its name under `labels/types/`. Documents that name one of the predecessor's types by its
    /// number are read, too.
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    pub label_type: String,
    #[serde(default)]
    pub state: LabelState,
    #[serde(default)]
    pub layers: Layers,
}

impl_document!(LabelDocument);

impl LabelDocument {
    /// A document in which nobody has said anything.
    pub fn new(image: ImageKey, label_type: impl Into<String>) -> Self {
        let state = LabelState::default();
        Self {
            stamp: Stamp::default(),
            image,
            label_type: label_type.into(),
            state,
            layers: Layers::default(),
        }
    }

    /// Replaces the layer of a date. `false`: it said the same before, nothing needs writing.
    pub fn put_csv(&mut self, date: &PointsDate, layer: CsvLayer) -> bool {
        let before = self.layers.csv.insert(date.clone(), layer);
        before.as_ref() != self.layers.csv.get(date)
    }

    /// Replaces the layer of a model. `false`: it said the same before, nothing needs writing.
    pub fn put_model(&mut self, mid: u64, layer: ModelLayer) -> bool {
        let before = self.layers.model.insert(mid, layer);
        before.as_ref() != self.layers.model.get(&mid)
    }

    /// Adds a person's operation. `false`: it is there already.
    pub fn record(&mut self, user: &str, operation: Operation) -> bool {
        let operations = &mut self
            .layers
            .person
            .entry(user.to_owned())
            .or_default()
            .operations;
        let is_new = operations.iter().all(|it| it.id != operation.id);
        if is_new {
            operations.push(operation);
        }
        is_new
    }
}
