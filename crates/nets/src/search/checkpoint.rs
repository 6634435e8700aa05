//! A search as bytes, between two epochs: what came of every trial, and where the open ones stand.

use super::container;
use super::halving::{Outcome, Trial, open};
use super::run::Search;
use crate::device::OpenDevice;
use crate::options::TrainOptions;
use crate::samples::Samples;
use crate::state::FileError;
use crate::trainer::{SavedReport, TrainError};
use crate::weights::Foreign;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What is told before the trainings, which follow in the order of the trials.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// The version of this description.
    search: u32,
    trials: Vec<Standing>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standing {
    options: TrainOptions,
    outcome: Outcome,
    reports: Vec<SavedReport>,
    spent_ms: u64,
}

const VERSION: u32 = 1;

impl From<&Trial> for Standing {
    fn from(it: &Trial) -> Self {
        Self {
            options: it.options.clone(),
            outcome: it.outcome,
            reports: it.reports.iter().map(Into::into).collect(),
            spent_ms: it.spent.as_millis() as u64,
        }
    }
}

impl Search {
    /// Everything that the rest of the search depends on.
    pub fn checkpoint(&mut self) -> Result<Vec<u8>, TrainError> {
        let description = Description {
            search: VERSION,
            trials: self.trials.iter().map(Into::into).collect(),
        };
        let description = serde_json::to_vec(&description);
        let mut parts = vec![description.expect("a description has text keys")];
        for (at, trial) in self.trials.iter().enumerate() {
            let present = self.present.as_mut().filter(|it| it.0 == at);
            parts.push(match (present, &self.checkpoints[at]) {
                _ if trial.outcome != Outcome::Open => Vec::new(),
                (Some((_, trainer)), _) if trainer.epochs_done() > 0 => trainer.checkpoint()?,
                (_, Some(bytes)) => bytes.clone(),
                (_, None) => Vec::new(),
            });
        }
        Ok(container::join(&parts))
    }

    /// Goes on from a checkpoint of a search of the same settings and samples. By epochs the rest gives the same bits
    /// as if it had never stopped.
    pub fn resume(
        trials: Vec<(TrainOptions, f64)>,
        train: impl Into<Arc<Samples>>,
        validation: impl Into<Arc<Samples>>,
        device: &OpenDevice,
        weights: Option<Arc<Foreign>>,
        checkpoint: &[u8],
    ) -> Result<Self, TrainError> {
        let mut it = Self::new(trials, train, validation, device, weights);
        let parts = container::split(checkpoint).map_err(TrainError::Checkpoint)?;
        let Some((description, trainings)) = parts.split_first() else {
            return Err(TrainError::OtherTraining {
                what: "the settings",
            });
        };
        let description: Description = serde_json::from_slice(description).map_err(|error| {
            TrainError::Checkpoint(FileError::Description {
                reason: error.to_string(),
            })
        })?;
        it.check_same(&description, trainings.len())?;
        for (trial, standing) in it.trials.iter_mut().zip(description.trials) {
            trial.outcome = standing.outcome;
            trial.reports = standing.reports.into_iter().map(Into::into).collect();
            trial.spent = Duration::from_millis(standing.spent_ms);
        }
        for (place, bytes) in it.checkpoints.iter_mut().zip(trainings) {
            *place = (!bytes.is_empty()).then(|| bytes.to_vec());
        }
        // Samples of another training are told now, and not when a trial's turn comes.
        let stands = |at: &usize| it.checkpoints[*at].is_some();
        if let Some(at) = open(&it.trials).into_iter().find(stands) {
            it.turn_to(at)?;
        }
        Ok(it)
    }

    fn check_same(&self, description: &Description, n_trainings: usize) -> Result<(), TrainError> {
        let theirs = &description.trials;
        let is_same = |(trial, standing): (&Trial, &Standing)| trial.options == standing.options;
        let what = if description.search != VERSION {
            "the versions"
        } else if theirs.len() != self.trials.len()
            || n_trainings != self.trials.len()
            || !self.trials.iter().zip(theirs).all(is_same)
        {
            "the settings"
        } else {
            return Ok(());
        };
        Err(TrainError::OtherTraining { what })
    }
}
