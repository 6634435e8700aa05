//! What is known of one image: the truth and what was found.

use serde::{Deserialize, Serialize};

/// A cell that is there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub class: u32,
    /// `x1, y1, x2, y2`; right and bottom are outside, so `x2 - x1` is the width.
    pub bbox: [f64; 4],
    /// A region of many cells that nobody marked one by one (COCO's `iscrowd`): what is found in it is neither right
    /// nor wrong, and nothing has to be found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crowd: bool,
}

/// A cell that a detector sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub class: u32,
    /// As [`Truth::bbox`].
    pub bbox: [f64; 4],
    /// Higher is surer. A score that is no number counts as the lowest.
    pub score: f64,
}

/// One image. The order of its cells decides between equal scores and equal overlaps, as in COCO's evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub truth: Vec<Truth>,
    pub found: Vec<Found>,
}
