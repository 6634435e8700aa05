//! The weights that a training begins with, when somebody gave some.

use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::ObjectKey;
use cellmill_core::model::WeightsFacts;
use cellmill_core::training::TrainParameters;
use cellmill_worker::{Context, Failure};

use crate::algorithms::refuse;
use crate::learning::{Fit, Weights};

/// Weights, and where they come from.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) weights: Weights,
    file: String,
    sha256: String,
}

impl Given {
    /// Reads the file that the settings name, `None` when they name none.
    pub(super) async fn read(
        parameters: &TrainParameters,
        context: &Context,
    ) -> Result<Option<Self>, Failure> {
        let Some(file) = parameters.weights() else {
            return Ok(None);
        };
        let Ok(Some(ObjectKey::Weights(name))) = ObjectKey::parse(file) else {
            return Err(refuse(format!(
                "weights are read from `modules/weights/`, the training names `{file}`"
            )));
        };
        let bytes = match context.store().get_bytes(file).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                return Err(refuse(format!(
                    "weights `{file}` are not there\nhint: `cellmill train --weights FILE` sends them"
                )));
            }
            Err(error) => {
                return Err(Failure::of_store(
                    format!("could not read weights `{file}`"),
                    error,
                ));
            }
        };
        if sha256_hex(&bytes) != name.sha256() {
            return Err(refuse(format!(
                "the bytes of weights `{file}` are not those that its name is the hash of\nhint: remove it and send it again"
            )));
        }
        let weights = Weights::of_bytes(&bytes).map_err(|error| unfit(file, error.as_ref()))?;
        Ok(Some(Self {
            weights,
            file: file.to_owned(),
            sha256: name.sha256().to_owned(),
        }))
    }

    /// What a training that can't begin has to say of them, where that is the reason.
    pub(super) fn unfit_or(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Permanent {
                source: Some(why), ..
            } => self.unfit(why.as_ref()),
            failure => failure,
        }
    }

    pub(super) fn unfit(&self, why: &(dyn std::error::Error + 'static)) -> Failure {
        unfit(&self.file, why)
    }

    /// For the card of a model that began with them.
    pub(super) fn facts(&self, fit: Fit) -> WeightsFacts {
        WeightsFacts {
            sha256: self.sha256.clone(),
            file: self.file.clone(),
            source: fit.source,
            n_values: fit.n_values,
        }
    }
}

fn unfit(file: &str, why: &(dyn std::error::Error + 'static)) -> Failure {
    refuse(format!(
        "weights `{file}` can't be used: {}",
        cellmill_service::report(why)
    ))
}
