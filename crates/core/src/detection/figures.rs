//! What average precision comes to.

use serde::Serialize;

/// COCO's figures, each `None` where there was nothing to find (pycocotools says -1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Average precision, the mean over the overlaps of .50, .55, ... .95.
    pub ap: Option<f64>,
    /// Average precision at an overlap of .50.
    pub ap50: Option<f64>,
    /// Average precision at an overlap of .75.
    pub ap75: Option<f64>,
    /// Average recall: the part of the cells that is found at all, the mean over the same overlaps.
    pub ar: Option<f64>,
}

/// The figures of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassFigures {
    pub class: u32,
    /// How many cells there are, without crowds.
    pub n_truth: u64,
    /// How many were found, those beyond the limit of an image included.
    pub n_found: u64,
    #[serde(flatten)]
    pub figures: Figures,
}

/// The figures of all classes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// The mean over the classes that have a cell.
    pub overall: Figures,
    /// Ascending by class: all that occur in truth or among what was found. Empty where classes are not told apart.
    pub per_class: Vec<ClassFigures>,
}

impl Figures {
    pub(super) fn mean_of(classes: &[ClassFigures]) -> Self {
        let mean = |figure: fn(&Self) -> Option<f64>| {
            let known = classes.iter().filter_map(|it| figure(&it.figures));
            let (sum, n) = known.fold((0.0, 0_u32), |(sum, n), it| (sum + it, n + 1));
            (n > 0).then(|| sum / f64::from(n))
        };
        Self {
            ap: mean(|it| it.ap),
            ap50: mean(|it| it.ap50),
            ap75: mean(|it| it.ap75),
            ar: mean(|it| it.ar),
        }
    }
}
