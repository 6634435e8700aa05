//! What the algorithms of one process share, and how all of them are made.

use std::sync::Arc;

use cellmill_nets::OpenDevice;
use cellmill_store::Store;
use cellmill_vision::{DecodeBudget, Limits};
use cellmill_worker::Algorithm;

use crate::Error;
use crate::algorithms::data::DataAlgorithm;
use crate::algorithms::predict::PredictAlgorithm;
use crate::algorithms::train::TrainAlgorithm;
use crate::compute::Compute;
use crate::models::Models;
use crate::preannotate::Preannotator;

/// Limits, memory, device and loaded models of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Bench {
    pub(crate) limits: Limits,
    pub(crate) budget: DecodeBudget,
    pub(crate) compute: Compute,
    pub(crate) models: Models,
}

impl Bench {
    /// `budget` is what all decodes of the process share; `threads` are those of networks, 0: one for each core.
    pub fn new(
        limits: Limits,
        budget: DecodeBudget,
        device: &OpenDevice,
        threads: usize,
    ) -> Result<Self, Error> {
        let compute = Compute::new(device.clone(), threads).map_err(Error::Threads)?;
        Ok(Self {
            limits,
            budget,
            compute,
            models: Models::new(device.clone()),
        })
    }

    /// Every algorithm of this worker: data, train, predict.
    pub fn algorithms(&self) -> Vec<Arc<dyn Algorithm>> {
        vec![
            Arc::new(DataAlgorithm::new(self)),
            Arc::new(TrainAlgorithm::new(self.clone())),
            Arc::new(PredictAlgorithm::new(self.clone())),
        ]
    }

    /// What labels new images with the models in use.
    pub fn preannotator(&self, store: &Store) -> Preannotator {
        Preannotator::new(store.clone(), self)
    }
}
