//! What is to be reckoned: a lab's images, and what is done with them.

use super::counts::{Stage, Thing};

/// What somebody has and does. Counts, not shares; a month of storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) images: f64,
    pub(super) cells_per_image: f64,
    pub(super) csv_per_image: f64,
    pub(super) image_bytes: f64,
    /// Data sets of all images.
    pub(super) data_sets: f64,
    /// Cells are written as loose files too, beside the packs.
    pub(super) writes_loose_cells: bool,
    pub(super) trainings: f64,
    /// Of one training.
    pub(super) gpu_hours: f64,
    /// Predictions of all cells.
    pub(super) predictions: f64,
    /// Bytes that people fetch to their own machines.
    pub(super) fetched_bytes: f64,
}

/// Cells of one training or prediction that are written as loose files (FORMATS: more only by export).
const MAX_COPIES: f64 = 100_000.0;

/// How the work is cut, as the counts file says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) images_per_unit: f64,
    pub(super) cells_per_unit: f64,
}

impl Plan {
    pub(super) fn cells(&self) -> f64 {
        self.images * self.cells_per_image
    }

    /// How often a stage meets a thing. Heartbeats follow from the time that workers work, so they are not known here.
    pub(super) fn times(&self, stage: Stage, thing: Thing, cut: Cut) -> f64 {
        let (images, cells) = (self.images, self.cells());
        match stage {
            Stage::Upload | Stage::Ingest | Stage::Label => match thing {
                Thing::Image => images,
                Thing::Csv => images * self.csv_per_image,
                Thing::Cell => cells * self.csv_per_image,
                _ => 0.0,
            },
            Stage::DataSet => {
                let loose = if self.writes_loose_cells { cells } else { 0.0 };
                self.data_sets
                    * match thing {
                        Thing::Job => 1.0,
                        Thing::Unit => (images / cut.images_per_unit).ceil(),
                        Thing::Image => images,
                        Thing::Cell => cells,
                        Thing::LooseCell => loose,
                        _ => 0.0,
                    }
            }
            Stage::Training => self.trainings * of_project(thing, 1.0, cells),
            Stage::Prediction => {
                let units = (cells / cut.cells_per_unit).ceil();
                self.predictions * of_project(thing, units, cells)
            }
            Stage::Standing => match thing {
                Thing::Month => 1.0,
                Thing::Image => images,
                Thing::Csv => images * self.csv_per_image,
                _ => 0.0,
            },
            Stage::Storage => 0.0,
        }
    }

    /// Seconds of GPU instances that somebody said, beside what the counts say.
    pub(super) fn gpu_seconds(&self, stage: Stage) -> f64 {
        match stage {
            Stage::Training => self.trainings * self.gpu_hours * 3600.0,
            _ => 0.0,
        }
    }
}

/// How often one training or prediction meets a thing.
fn of_project(thing: Thing, units: f64, cells: f64) -> f64 {
    match thing {
        Thing::Job => 1.0,
        Thing::Unit => units,
        Thing::Cell => cells,
        Thing::LooseCell => cells.min(MAX_COPIES),
        _ => 0.0,
    }
}
