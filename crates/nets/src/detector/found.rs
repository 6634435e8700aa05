//! From answers to boxes.

use super::boxes::CellBox;
use super::loss::Grid;

/// What counts as found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FindOptions {
    /// Less sure boxes are left out.
    pub min_score: f32,
    /// Of boxes that overlap more (intersection over union), the surest stays.
    pub max_overlap: f32,
    /// Boxes of different classes are doubles of each other, too.
    pub any_class: bool,
}

impl Default for FindOptions {
    fn default() -> Self {
        Self {
            min_score: 0.25,
            max_overlap: 0.6,
            any_class: false,
        }
    }
}

/// The boxes of a picture's answers, doubles and all, for its upper left `[width, height]` pixels.
pub(super) fn found(
    grid: &Grid,
    answers: &[f32],
    min_score: f32,
    [width, height]: [f32; 2],
) -> Vec<CellBox> {
    // Cheaper than a probability for each answer.
    let min_logit = (min_score / (1.0 - min_score).max(1e-7)).ln();
    let n = grid.n_outputs();
    let mut boxes = Vec::new();
    for (at, answer) in answers.chunks_exact(n).enumerate() {
        let logits = &answer[..grid.n_classes];
        if !logits.iter().any(|it| *it >= min_logit) {
            continue;
        }
        let [x1, y1, x2, y2] = grid.box_of(at, answer);
        let (x1, x2) = (x1.clamp(0.0, width), x2.clamp(0.0, width));
        let (y1, y2) = (y1.clamp(0.0, height), y2.clamp(0.0, height));
        if x2 <= x1 || y2 <= y1 {
            continue;
        }
        let sure = logits.iter().enumerate().filter(|it| *it.1 >= min_logit);
        boxes.extend(sure.map(|(class, logit)| CellBox {
            class,
            bbox: [x1, y1, x2, y2],
            score: 1.0 / (1.0 + (-logit).exp()),
        }));
    }
    boxes
}
