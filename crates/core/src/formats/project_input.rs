//! `projects/<dir>/inputs/<nnnnn>.json`: the frozen cells of a training or prediction, piece by piece.

use serde::{Deserialize, Serialize};

use crate::boxes::BBox;
use crate::split::Part;

/// A piece of a project's input: the chosen cells of a stretch of cellslist.csv, in its order.
///
/// A prediction's unit works on one piece, a training's unit on all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectInput {
    pub v: u32,
    pub piece: u32,
    /// Where the pictures are, in the order in which the cells come.
    pub packs: Vec<InputPack>,
    /// The images that the cells were cut from.
    pub images: Vec<CellImage>,
    pub cells: Vec<InputCell>,
}

/// A pack of the data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPack {
    pub key: String,
    pub bytes: u64,
}

/// An image that cells were cut from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellImage {
    pub key: String,
    pub imgid: u64,
    /// Of its bytes: what the split and the order of the cells go by, so that names teach nothing.
    pub sha256: String,
    pub batch: String,
    pub case: String,
    /// The part that the folder said that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputCell {
    /// Its name in the pack, with `.png`.
    pub name: String,
    /// Index into the packs of the piece.
    pub pack: u32,
    /// Index into the images of the piece.
    pub image: u32,
    /// As cellslist.csv has it.
    pub class: u32,
    /// What was cut.
    pub crop: BBox,
    /// The cell itself, where it was detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<BBox>,
}

impl ProjectInput {
    /// The form that is written.
    pub const VERSION: u32 = 1;

    /// The bytes to freeze: equal inputs give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an input holds nothing that JSON can't")
    }
}
