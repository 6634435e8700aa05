//! Who finds cells: the classical finder, or a detector that learned it.

use std::sync::Arc;

use cellmill_core::boxes::BBox;
use cellmill_core::classes::UNKNOWN_CLASS;
use cellmill_core::job::DataParameters;
use cellmill_core::matching::{DEDUPE_DISTANCE, dedupe};
use cellmill_store::Store;
use cellmill_vision::{FinderSettings, RgbImage, find_cells};
use cellmill_worker::Cause;

use crate::compute::Threads;
use crate::models::{DetectorModel, ModelError, Models};

/// A cell that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    pub bbox: BBox,
    /// What a detector takes it for; [`UNKNOWN_CLASS`] where nobody learned to tell.
    pub class: u32,
    /// How sure that is, 0 to 1.
    pub score: f64,
}

/// Finds cells in images, each once, the surest first.
#[derive(Clone, Debug)]
pub(crate) struct Finder {
    model: Option<Arc<DetectorModel>>,
    min_score: Option<f64>,
    min_distance: u32,
}

impl Finder {
    /// What finds the cells of a data set; a detector is loaded now.
    pub(crate) async fn of(
        parameters: &DataParameters,
        models: &Models,
        store: &Store,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            min_score: parameters.min_score,
            min_distance: parameters.min_distance.unwrap_or(DEDUPE_DISTANCE),
            ..Self::of_mid(parameters.mid, models, store).await?
        })
    }

    /// The finder of this number, with its own threshold.
    pub(crate) async fn of_mid(
        mid: u64,
        models: &Models,
        store: &Store,
    ) -> Result<Self, ModelError> {
        let model = match mid {
            0 => None,
            mid => Some(models.load_detector(store, mid).await?),
        };
        Ok(Self {
            model,
            ..Self::classical()
        })
    }

    /// The classical one, which needs no model.
    pub(crate) const fn classical() -> Self {
        Self {
            model: None,
            min_score: None,
            min_distance: DEDUPE_DISTANCE,
        }
    }

    /// The cells of an image.
    ///
    /// The classical finder works on one channel that it makes itself, so it sees the image in grey whatever
    /// `parameter_gray` says. A network computes where `threads` says; no thread of a pool may call this, as one that
    /// waits there takes up other work, which would want the same network.
    pub(crate) fn find(&self, image: &RgbImage, threads: Threads<'_>) -> Result<Vec<Found>, Cause> {
        let found: Vec<Found> = match &self.model {
            None => find_cells(image, &FinderSettings::default())
                .iter()
                .map(|it| Found {
                    bbox: it.bbox,
                    class: UNKNOWN_CLASS,
                    score: it.score,
                })
                .collect(),
            Some(model) => model.find(image, self.min_score, threads)?,
        };
        let boxes: Vec<BBox> = found.iter().map(|it| it.bbox).collect();
        Ok(dedupe(&boxes, self.min_distance)
            .into_iter()
            .map(|at| found[at])
            .collect())
    }
}
