//! Label documents: what is known of one image, layer by layer, and who said so (DESIGN 6).

mod document;
mod fold;
mod kinds;
mod layers;
pub mod legacy;
#[cfg(test)]
mod tests;

pub use document::LabelDocument;
pub use fold::{CellId, Folded, ImageClass, LabelledCell, fold, is_later};
pub use kinds::{LabelState, LabelType};
pub use layers::{
    Change, CsvLayer, LayerName, LayerNameError, Layers, ModelBox, ModelLayer, Operation,
    PersonLayer, Place,
};
