//! Models of the registry, loaded once for a process.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use cellmill_core::boxes::BBox;
use cellmill_core::disposition::Disposition;
use cellmill_core::ids::{Dir, sha256_hex};
use cellmill_core::job::{DataType, JobParameters};
use cellmill_core::keys::{JobKind, ModelKey, ModelKind, ObjectKey};
use cellmill_core::model::{ModelCard, ModelState};
use cellmill_nets::OpenDevice;
use cellmill_store::Store;
use cellmill_vision::RgbImage;
use cellmill_worker::{Cause, Failure};
use tokio::sync::Mutex;

use crate::algorithms::data::Found;
use crate::compute::Threads;
use crate::detector::{FindOptions, FoundCell, LearnedFinder};
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
    classifiers: Shelf<Model>,
    detectors: Shelf<DetectorModel>,
}

/// Models of one kind, the latest used last.
type Shelf<M> = Arc<Mutex<Vec<Arc<M>>>>;

/// A model that stays loaded.
trait Loaded {
    fn card(&self) -> &ModelCard;

    /// Is it what this card speaks of? What people decided about it since is no matter.
    fn is(&self, card: &ModelCard) -> bool {
        let parts = |it: &ModelCard| (it.mid, it.sha256.clone(), it.classes.clone());
        parts(self.card()) == parts(card)
    }
}

impl Loaded for Model {
    fn card(&self) -> &ModelCard {
        &self.card
    }
}

impl Loaded for DetectorModel {
    fn card(&self) -> &ModelCard {
        &self.card
    }
}

/// A detector with its card.
#[derive(Debug)]
pub(crate) struct DetectorModel {
    card: ModelCard,
    finder: std::sync::Mutex<LearnedFinder>,
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
    #[error(
        "model {mid} is not there as a {}\nhint: `cellmill models ls` shows the models that are",
        kind.as_str()
    )]
    Missing { kind: ModelKind, mid: u64 },
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
            classifiers: Arc::default(),
            detectors: Arc::default(),
        }
    }

    /// The classifier of this number, as its card names it now.
    pub(crate) async fn load(&self, store: &Store, mid: u64) -> Result<Arc<Model>, ModelError> {
        let card = card(store, ModelKind::Classifier, mid).await?;
        shelved(&self.classifiers, &card, self.read(store, &card)).await
    }

    /// The detector of this number.
    pub(crate) async fn load_detector(
        &self,
        store: &Store,
        mid: u64,
    ) -> Result<Arc<DetectorModel>, ModelError> {
        let card = card(store, ModelKind::Detector, mid).await?;
        shelved(&self.detectors, &card, self.read_detector(store, &card)).await
    }

    async fn read(&self, store: &Store, card: &ModelCard) -> Result<Model, ModelError> {
        let mid = card.mid;
        let bytes = file(store, card).await?;
        let network = Network::of_bytes(&bytes, &self.device)
            .map_err(|source| ModelError::Unusable { mid, source })?;
        check_classes(card, network.shape().n_classes)?;
        let subject = subject(store, card).await;
        Ok(Model {
            subject: subject.map_err(|source| ModelError::Store { mid, source })?,
            card: card.clone(),
            network: std::sync::Mutex::new(network),
        })
    }

    async fn read_detector(
        &self,
        store: &Store,
        card: &ModelCard,
    ) -> Result<DetectorModel, ModelError> {
        let mid = card.mid;
        let bytes = file(store, card).await?;
        let finder = LearnedFinder::of_bytes(&bytes, &self.device)
            .map_err(|source| ModelError::Unusable { mid, source })?;
        check_classes(card, finder.shape().n_classes)?;
        Ok(DetectorModel {
            card: card.clone(),
            finder: std::sync::Mutex::new(finder),
        })
    }
}

/// The card of a model that can be used.
async fn card(store: &Store, kind: ModelKind, mid: u64) -> Result<ModelCard, ModelError> {
    let key = ObjectKey::ModelCard(ModelKey::of_number(kind, mid));
    let card = store.read::<ModelCard>(&key).await;
    let card = card.map_err(|source| ModelError::Store { mid, source })?;
    let Some(card) = card.map(|it| it.value) else {
        return Err(ModelError::Missing { kind, mid });
    };
    if card.state == ModelState::Uploading {
        return Err(ModelError::Uploading { mid });
    }
    Ok(card)
}

/// The model of this card, loaded by `load` unless it is there.
async fn shelved<M: Loaded + Send + Sync>(
    shelf: &Shelf<M>,
    card: &ModelCard,
    load: impl Future<Output = Result<M, ModelError>> + Send,
) -> Result<Arc<M>, ModelError> {
    // Held while loading, so that two that want the same model do not both load it.
    let mut loaded = shelf.lock().await;
    let known = loaded.iter().position(|it| it.is(card));
    let model = match known {
        Some(at) => loaded.remove(at),
        None => Arc::new(load.await?),
    };
    loaded.push(Arc::clone(&model));
    if loaded.len() > MAX_LOADED {
        loaded.remove(0);
    }
    Ok(model)
}

/// The bytes that a card speaks of.
async fn file(store: &Store, card: &ModelCard) -> Result<Bytes, ModelError> {
    let mid = card.mid;
    let damaged = |how: String| ModelError::Damaged { mid, how };
    if card.bytes > MAX_BYTES {
        let how = format!("{} bytes, the limit is {MAX_BYTES}", card.bytes);
        return Err(damaged(how));
    }
    let key = ObjectKey::Model(ModelKey::of_number(card.kind, mid));
    let bytes = match store.get_bytes(&key).await {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => {
            return Err(damaged("it is not there".to_owned()));
        }
        Err(source) => return Err(ModelError::Store { mid, source }),
    };
    if bytes.len() as u64 != card.bytes || sha256_hex(&bytes) != card.sha256 {
        let how = format!("it has {} bytes and another sha256", bytes.len());
        return Err(damaged(how));
    }
    Ok(bytes)
}

fn check_classes(card: &ModelCard, n_classes: usize) -> Result<(), ModelError> {
    let n_named = card.classes.len();
    if n_classes == n_named {
        return Ok(());
    }
    Err(ModelError::Damaged {
        mid: card.mid,
        how: format!("it has {n_classes} classes and the card names {n_named}"),
    })
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

impl DetectorModel {
    /// The cells of an image with the ids of their classes, the surest first: from `min_score` on, or from the
    /// threshold of its card.
    pub(crate) fn find(
        &self,
        image: &RgbImage,
        min_score: Option<f64>,
        threads: Threads<'_>,
    ) -> Result<Vec<Found>, Cause> {
        let facts = self.card.detector.as_ref();
        let defaults = FindOptions::default();
        let own = facts.map_or(defaults.min_score, |it| it.min_score as f32);
        let options = FindOptions {
            min_score: min_score.map_or(own, |it| it as f32),
            max_overlap: facts.map_or(defaults.max_overlap, |it| it.max_overlap as f32),
            // One place is one cell, whatever it is.
            any_class: true,
        };
        // Locked before the threads are asked for, so that none of them ever waits for it.
        let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
        let finder: &mut LearnedFinder = &mut finder;
        let found = threads.run(|| finder.find(image, &options))?;
        let cell = |it: FoundCell| {
            let [x1, y1, x2, y2] = it.bbox.map(|it| it.round() as i64);
            Some(Found {
                bbox: BBox::clamped(x1, y1, x2, y2, image.width, image.height)?,
                class: self.card.classes[it.class].id,
                score: it.score,
            })
        };
        Ok(found.into_iter().filter_map(cell).collect())
    }
}

impl Model {
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
