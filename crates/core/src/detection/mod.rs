//! How good a detector or a segmenter is: what it found against what is there.
//!
//! Figures that others compute too are computed as they do: average precision is that of COCO's evaluation, number
//! for number, and instances are scored as in the nuclei challenge of 2018. Boxes are in [`Scene`]s, label images in
//! [`instances`]. Reading files and drawing pictures do not belong here.

mod assign;
mod average_precision;
mod counts;
mod figures;
pub mod instances;
mod matches;
mod overlaps;
mod scene;
#[cfg(test)]
mod tests;

pub use average_precision::{Settings, average_precision};
pub use counts::{Best, Counts, best_threshold, count};
pub use figures::{ClassFigures, Evaluation, Figures};
pub use matches::{Matches, Pair, Rule, matches};
pub use overlaps::iou;
pub use scene::{Found, Scene, Truth};
