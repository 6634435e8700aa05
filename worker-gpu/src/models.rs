//! Models of the registry, loaded once for a process.

use std::sync::{Arc, PoisonError};

use cellmill_core::disposition::Disposition;
use cellmill_core::ids::{Dir, sha256_hex};
use cellmill_core::job::{DataType, JobParameters};
use cellmill_core::keys::{JobKind, ModelKey, ModelKind, ObjectKey};
use cellmill_core::model::{ModelCard, ModelState};
use cellmill_nets::OpenDevice;
use cellmill_store::Store;
use cellmill_worker::{Cause, Failure};
use tokio::sync::Mutex;

use crate::network::Network;

/// Models that stay loaded. A process works for few label types and predictions at a time, and a model has some
/// megabytes.
const MAX_LOADED: usize = 4;
/// Larger files are refused before they are read.
const MAX_BYTES: u64 = 1 << 30;

/// The models that this process has loaded. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Models {
    device: OpenDevice,
    /// The latest used last.
    loaded: Arc<Mutex<Vec<Arc<Model>>>>,
}

/// A model with its card.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) card: ModelCard,
    /// What it was trained on.
    pub(crate) subject: Subject,
    network: std::sync::Mutex<Network>,
}

/// What a model says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Whole images, scaled to a square of this side first.
    WholeImages { size: u32 },
    /// Cells cut with this side.
    Cells { size: u32 },
}

/// Why a model can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("model {mid} is not there\nhint: `cellmill models ls` shows those that are")]
    Missing { mid: u64 },
    #[error(
        "the file of model {mid} is not uploaded yet\nhint: upload it, or choose another model"
    )]
    Uploading { mid: u64 },
    #[error(
        "the file of model {mid} is not what its card says: {how}\nhint: import or train the model again"
    )]
    Damaged { mid: u64, how: String },
    #[error("the file of model {mid} can't be used\nhint: import or train the model again")]
    Unusable {
        mid: u64,
        #[source]
        source: Cause,
    },
    #[error("model {mid} could not be read")]
    Store {
        mid: u64,
        #[source]
        source: cellmill_store::Error,
    },
}

impl ModelError {
    pub(crate) fn failure(self) -> Failure {
        let what = self.to_string();
        match self {
            Self::Store { source, .. } => Failure::of_store(what, source),
            Self::Unusable { source, .. } => Failure::permanent(what, source),
            Self::Missing { .. } | Self::Uploading { .. } | Self::Damaged { .. } => {
                Failure::Permanent { what, source: None }
            }
        }
    }

    pub(crate) fn disposition(&self) -> Disposition {
        match self {
            Self::Store { source, .. } if source.is_transient() => {
                Disposition::retry(cellmill_service::report(self))
            }
            _ => Disposition::Reject {
                reason: cellmill_service::report(self),
            },
        }
    }
}

impl Models {
    pub(crate) fn new(device: OpenDevice) -> Self {
        Self {
            device,
            loaded: Arc::default(),
        }
    }

    /// The classifier of this number, as its card names it now.
    pub(crate) async fn load(&self, store: &Store, mid: u64) -> Result<Arc<Model>, ModelError> {
        let failed = |source| ModelError::Store { mid, source };
        let key = ModelKey::of_number(ModelKind::Classifier, mid);
        let card = store
            .read::<ModelCard>(&ObjectKey::ModelCard(key.clone()))
            .await;
        let Some(card) = card.map_err(failed)?.map(|it| it.value) else {
            return Err(ModelError::Missing { mid });
        };
        if card.state == ModelState::Uploading {
            return Err(ModelError::Uploading { mid });
        }
        // Held while loading, so that two that want the same model do not both load it.
        let mut loaded = self.loaded.lock().await;
        let known = loaded.iter().position(|it| it.is(&card));
        let model = match known {
            Some(at) => loaded.remove(at),
            None => Arc::new(self.read(store, card, &key).await?),
        };
        loaded.push(Arc::clone(&model));
        if loaded.len() > MAX_LOADED {
            loaded.remove(0);
        }
        Ok(model)
    }

    async fn read(
        &self,
        store: &Store,
        card: ModelCard,
        key: &ModelKey,
    ) -> Result<Model, ModelError> {
        let mid = card.mid;
        let damaged = |how: String| ModelError::Damaged { mid, how };
        let failed = |source| ModelError::Store { mid, source };
        if card.bytes > MAX_BYTES {
            let how = format!("{} bytes, the limit is {MAX_BYTES}", card.bytes);
            return Err(damaged(how));
        }
        let bytes = match store.get_bytes(&ObjectKey::Model(key.clone())).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                return Err(damaged("it is not there".to_owned()));
            }
            Err(error) => return Err(failed(error)),
        };
        if bytes.len() as u64 != card.bytes || sha256_hex(&bytes) != card.sha256 {
            let how = format!("it has {} bytes and another sha256", bytes.len());
            return Err(damaged(how));
        }
        let unusable = |source| ModelError::Unusable { mid, source };
        let network = Network::of_bytes(&bytes, &self.device).map_err(unusable)?;
        let n_classes = network.shape().n_classes;
        if n_classes != card.classes.len() {
            let n_named = card.classes.len();
            return Err(damaged(format!(
                "it has {n_classes} classes and the card names {n_named}"
            )));
        }
        Ok(Model {
            subject: subject(store, &card).await.map_err(failed)?,
            card,
            network: std::sync::Mutex::new(network),
        })
    }
}

/// What kind of data set it was trained on; cells of the usual size when nothing is known of that.
async fn subject(store: &Store, card: &ModelCard) -> Result<Subject, cellmill_store::Error> {
    let usual = Subject::Cells {
        size: cellmill_core::boxes::DEFAULT_CROP_SIZE,
    };
    let dataset = card.training.as_ref().map(|it| Dir::parse(&it.dataset));
    let Some(Ok(dir)) = dataset else {
        return Ok(usual);
    };
    let job = store.read_job(JobKind::Data, &dir).await?;
    Ok(match job.map(|it| it.value.parameters) {
        Some(JobParameters::Data(it)) if it.data_type == DataType::WholeImage => {
            Subject::WholeImages { size: it.size }
        }
        Some(JobParameters::Data(it)) if it.size > 0 => Subject::Cells { size: it.size },
        _ => usual,
    })
}

impl Model {
    /// Is it what this card speaks of? What people decided about it since is no matter.
    fn is(&self, card: &ModelCard) -> bool {
        let parts = |it: &ModelCard| (it.mid, it.sha256.clone(), it.classes.clone());
        parts(&self.card) == parts(card)
    }

    /// One row of logits a picture.
    pub(crate) fn logits(&self, pixels: &[u8]) -> Result<Vec<Vec<f32>>, Cause> {
        // A panic in the middle leaves no half state that a next call would see.
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.logits(pixels)
    }

    /// Side of the pictures that it sees.
    pub(crate) fn side(&self) -> u32 {
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.side()
    }

    /// What logits are divided by.
    pub(crate) fn temperature(&self) -> f64 {
        self.card.calibration.map_or(1.0, |it| it.temperature)
    }
}
