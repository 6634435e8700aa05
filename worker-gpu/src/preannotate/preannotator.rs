//! One image at a time, by message.
//!
//! The answer is the layer `model/<mid>` of the image's label; what others said is never touched. Handling a message
//! twice changes nothing.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::boxes::{BBox, square_crop};
use cellmill_core::disposition::Disposition;
use cellmill_core::ids::{TableName, sha256_hex};
use cellmill_core::keys::{ImageKey, ModelKind, ObjectKey};
use cellmill_core::label::{LabelDocument, LabelType, ModelBox, ModelLayer};
use cellmill_core::messages::{PREANNOTATE, PreannotateHint};
use cellmill_core::records::{ImageRecord, ImageState, LabelTypeSettings, Named};
use cellmill_queue::{Queue, QueueName, Received, letters};
use cellmill_service::report;
use cellmill_store::{Decision, Store};
use cellmill_vision::{DecodeBudget, Limits, RgbImage, crop, decode_within, resize};
use cellmill_worker::Cause;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::algorithms::data::Finder;
use crate::bench::Bench;
use crate::cells::fitted;
use crate::compute::{Compute, Threads};
use crate::models::{Model, ModelError, Models, Subject};
use crate::network::{highest, probabilities};

use super::together::{Coming, Together};

/// Messages taken and handled at once. Each is some tenths of a second of work; decoding has its own limit of memory.
const BATCH: usize = 16;
/// A message that is not ended within this comes again.
const VISIBILITY: Duration = Duration::from_mins(5);
/// How long one look into an empty queue waits.
const WAIT: Duration = Duration::from_secs(2);

/// Labels new images. Clones share loaded models and memory.
///
/// It does not wait for its turn on the device: a single image takes less than a second, a training takes minutes,
/// and somebody waits to label it.
#[derive(Clone, Debug)]
pub struct Preannotator {
    store: Store,
    models: Models,
    limits: Limits,
    budget: DecodeBudget,
    compute: Compute,
    together: Together,
}

/// Why an image could not be labelled.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("pre-annotating `{image}`")]
    Store {
        image: ImageKey,
        #[source]
        source: cellmill_store::Error,
    },
    #[error("pre-annotating `{image}`")]
    Model {
        image: ImageKey,
        #[source]
        source: ModelError,
    },
    #[error("pre-annotating `{image}`")]
    Compute {
        image: ImageKey,
        #[source]
        source: Cause,
    },
}

impl Error {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Store { source, .. } if source.is_transient() => Disposition::retry(report(self)),
            Self::Model { source, .. } => source.disposition(),
            Self::Store { .. } | Self::Compute { .. } => Disposition::Reject {
                reason: report(self),
            },
        }
    }
}

/// What is to be done with an image.
struct Task {
    image: ImageKey,
    sha256: Option<String>,
    label_type: String,
    mid: u64,
    /// What finds cells; 0 is the classical finder.
    detector: u64,
    /// Does the label type ask for a class of the whole image?
    of_whole: bool,
}

impl Preannotator {
    pub(crate) fn new(store: Store, bench: &Bench) -> Self {
        Self {
            store,
            models: bench.models.clone(),
            limits: bench.limits.clone(),
            budget: bench.budget.clone(),
            compute: bench.compute.clone(),
            together: Together::new(&bench.compute),
        }
    }

    /// Serves the queue until the shutdown.
    pub async fn serve(&self, queue: Arc<dyn Queue>, shutdown: CancellationToken) {
        let name = QueueName::from_static(PREANNOTATE);
        while !shutdown.is_cancelled() {
            let received = queue.receive(&name, BATCH, VISIBILITY, WAIT);
            let Some(received) = shutdown.run_until_cancelled(received).await else {
                return;
            };
            let messages = match received {
                Ok(messages) => messages,
                Err(error) => {
                    tracing::warn!(
                        error = report(&error),
                        "images to pre-annotate can't be received"
                    );
                    shutdown.run_until_cancelled(tokio::time::sleep(WAIT)).await;
                    continue;
                }
            };
            let each = messages
                .iter()
                .map(|it| self.message(queue.as_ref(), &name, it, &shutdown));
            join_all(each).await;
        }
    }

    async fn message(
        &self,
        queue: &dyn Queue,
        name: &QueueName,
        message: &Received,
        shutdown: &CancellationToken,
    ) {
        // What is not begun at shutdown is left to others at once.
        let outcome = if shutdown.is_cancelled() {
            Disposition::Retry {
                after: Some(Duration::ZERO),
                reason: "the worker ended".to_owned(),
            }
        } else {
            self.one(&message.body).await
        };
        if let Disposition::Reject { reason } = &outcome {
            tracing::error!(
                message_id = message.id,
                reason,
                "image can't be pre-annotated"
            );
        }
        let ended = letters::finish(queue, name, message, outcome).await;
        if let Err(error) = ended {
            tracing::warn!(error = report(&error), "hint of an image comes again");
        }
    }

    /// Handles messages of the queue `preannotate`, each for itself but for the network: cells of images that come
    /// together go through it together.
    pub async fn handle(&self, bodies: &[String]) -> Vec<Disposition> {
        join_all(bodies.iter().map(|it| self.one(it))).await
    }

    async fn one(&self, body: &str) -> Disposition {
        let coming = self.together.coming();
        let hint: PreannotateHint = match serde_json::from_str(body) {
            Ok(hint) => hint,
            Err(error) => {
                return Disposition::Reject {
                    reason: format!("the message names no image: {error}"),
                };
            }
        };
        match self.image(&hint.image, coming).await {
            Ok(()) => Disposition::Done,
            Err(error) => {
                tracing::warn!(error = report(&error), "image not pre-annotated");
                error.disposition()
            }
        }
    }

    /// Labels an image, if there is something to do.
    async fn image(&self, image: &ImageKey, coming: Coming) -> Result<(), Error> {
        let of_store = |source| Error::Store {
            image: image.clone(),
            source,
        };
        let Some(task) = self.task(image).await.map_err(of_store)? else {
            return Ok(());
        };
        let of_model = |source| Error::Model {
            image: image.clone(),
            source,
        };
        let namer = self.namer(&task).await.map_err(of_model)?;
        let bytes = match self.store.get(&ObjectKey::Image(image.clone())).await {
            Ok(object) if object.head.size <= self.limits.max_bytes => object.bytes,
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(of_store(error)),
        };
        // Other bytes than the record speaks of: their own event brings a hint of its own, or a conflict.
        if task.sha256.as_deref() != Some(sha256_hex(&bytes).as_str()) {
            return Ok(());
        }
        let failed = |source: Cause| Error::Compute {
            image: image.clone(),
            source,
        };
        let (limits, budget) = (self.limits.clone(), self.budget.clone());
        let (compute, of_whole) = (self.compute.clone(), task.of_whole);
        let model = namer.model.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let Ok(decoded) = decode_within(&bytes, &limits, &budget) else {
                return Ok(None);
            };
            namer.look(&decoded.image, of_whole, &compute).map(Some)
        });
        let sight = match looked.await {
            Ok(sight) => sight.map_err(failed)?,
            Err(panicked) => return Err(failed(panicked.into())),
        };
        let layer = match (sight, model) {
            // The record says that it is good, under limits of another time. And a detector is asked about no whole image.
            (None, _) | (Some(Sight::Whole { .. }), None) => return Ok(()),
            (Some(Sight::Named(boxes)), _) | (Some(Sight::Cells { boxes, .. }), None) => {
                ModelLayer {
                    boxes: Some(boxes),
                    image_class: None,
                }
            }
            (Some(Sight::Cells { boxes, pixels }), Some(model)) => {
                let n = boxes.len();
                let rows = coming.logits(&model, pixels, n).await.map_err(failed)?;
                cells_layer(&model, boxes, &rows)
            }
            (Some(Sight::Whole { pixels }), Some(model)) => {
                let rows = coming.logits(&model, pixels, 1).await.map_err(failed)?;
                whole_layer(&model, &rows)
            }
        };
        self.put(&task, layer).await.map_err(of_store)
    }

    /// What finds the cells of a task, and what names them.
    async fn namer(&self, task: &Task) -> Result<Namer, ModelError> {
        let mid = task.mid;
        let failed = |source| ModelError::Store { mid, source };
        let card = self.store.read_model_card(mid).await.map_err(failed)?;
        if card.is_some_and(|it| it.value.kind == ModelKind::Detector) {
            return Ok(Namer {
                finder: Finder::of_mid(mid, &self.models, &self.store).await?,
                model: None,
            });
        }
        Ok(Namer {
            finder: Finder::of_mid(task.detector, &self.models, &self.store).await?,
            model: Some(self.models.load(&self.store, mid).await?),
        })
    }

    /// `None`: nothing is to be done, as nobody asked for it or it was done before.
    async fn task(&self, image: &ImageKey) -> Result<Option<Task>, cellmill_store::Error> {
        let record = self
            .store
            .read::<ImageRecord>(&ObjectKey::ImageRecord(image.clone()))
            .await?;
        let Some(record) = record
            .map(|it| it.value)
            .filter(|it| it.state == ImageState::Ok)
        else {
            return Ok(None);
        };
        let label = self
            .store
            .read::<LabelDocument>(&ObjectKey::Label(image.clone()))
            .await?
            .map(|it| it.value);
        let of_label = label.as_ref().map(|it| it.label_type.clone());
        let label_type = of_label
            .filter(|it| !it.is_empty())
            .or(record.label_type)
            .unwrap_or_default();
        let Ok(name) = TableName::parse(&label_type) else {
            return Ok(None);
        };
        let settings = self
            .store
            .read::<Named<LabelTypeSettings>>(&ObjectKey::LabelType(name))
            .await?;
        let Some(settings) = settings.map(|it| it.value.value) else {
            return Ok(None);
        };
        let (Some(mid), Some(of_whole)) = (settings.mid, asks_for_whole(settings.algorithm)) else {
            return Ok(None);
        };
        if label.is_some_and(|it| it.layers.model.contains_key(&mid)) {
            return Ok(None);
        }
        Ok(Some(Task {
            image: image.clone(),
            sha256: record.sha256,
            label_type,
            mid,
            detector: settings.detector.unwrap_or(0),
            of_whole,
        }))
    }

    async fn put(&self, task: &Task, layer: ModelLayer) -> Result<(), cellmill_store::Error> {
        let key = ObjectKey::Label(task.image.clone());
        let swapped = self.store.swap::<LabelDocument>(&key, |label| {
            let mut label = label
                .cloned()
                .unwrap_or_else(|| LabelDocument::new(task.image.clone(), &task.label_type));
            if label.put_model(task.mid, layer.clone()) {
                Decision::Write(label)
            } else {
                Decision::Keep
            }
        });
        swapped.await.map(drop)
    }
}

/// `None`: no classifier answers what this label type asks for.
const fn asks_for_whole(algorithm: u32) -> Option<bool> {
    match LabelType::from_code(algorithm) {
        Some(LabelType::Classification | LabelType::TwoClass) => Some(true),
        Some(LabelType::Base | LabelType::Recognition) => Some(false),
        _ => None,
    }
}

/// What finds cells, and what names them: nobody else where the detector does.
struct Namer {
    finder: Finder,
    model: Option<Arc<Model>>,
}

/// What of an image the model is asked about.
enum Sight {
    /// Nothing: the detector said it all.
    Named(Vec<ModelBox>),
    /// The image as a whole, in the size that the model sees.
    Whole { pixels: Vec<u8> },
    /// Cells that nobody named yet, with pictures of the model's side, one after the other.
    Cells {
        boxes: Vec<ModelBox>,
        pixels: Vec<u8>,
    },
}

impl Namer {
    /// No thread of `compute` may call this: see [`Finder::find`].
    fn look(&self, image: &RgbImage, of_whole: bool, compute: &Compute) -> Result<Sight, Cause> {
        let find = || -> Result<Vec<ModelBox>, Cause> {
            let found = self.finder.find(image, Threads::Small(compute))?;
            let boxes = found.into_iter().map(|it| ModelBox {
                bbox: it.bbox,
                class: it.class,
                score: rounded(it.score),
            });
            Ok(boxes.collect())
        };
        let Some(model) = &self.model else {
            return find().map(Sight::Named);
        };
        let side = model.side();
        let size = match (model.subject, of_whole) {
            (Subject::Cells { size }, false) => size,
            (Subject::Cells { .. }, true) => {
                let pixels = compute.run_aside(|| fitted(image, side));
                return Ok(Sight::Whole { pixels });
            }
            (Subject::WholeImages { size }, _) => {
                // In two steps, as its data set made them: one step gives slightly other pixels.
                let pixels = compute.run_aside(|| fitted(&resize(image, size, size), side));
                return Ok(Sight::Whole { pixels });
            }
        };
        let boxes = find()?;
        let pixels = compute.run_aside(|| {
            let cells = boxes.iter().map(|it| cell(image, &it.bbox, size));
            cells.flat_map(|it| fitted(&it, side)).collect()
        });
        Ok(Sight::Cells { boxes, pixels })
    }
}

/// The class of an image.
fn whole_layer(model: &Model, rows: &[Vec<f32>]) -> ModelLayer {
    ModelLayer {
        boxes: None,
        image_class: rows.first().map(|it| said(model, it)),
    }
}

/// The cells of an image with their classes.
fn cells_layer(model: &Model, boxes: Vec<ModelBox>, rows: &[Vec<f32>]) -> ModelLayer {
    let boxes = boxes.into_iter().zip(rows).map(|(it, row)| {
        let (class, score) = said(model, row);
        ModelBox { class, score, ..it }
    });
    ModelLayer {
        boxes: Some(boxes.collect()),
        image_class: None,
    }
}

/// Cut as data sets cut cells.
fn cell(image: &RgbImage, bbox: &BBox, size: u32) -> RgbImage {
    let (x, y) = bbox.center();
    let cut = square_crop(x, y, size, image.width, image.height);
    crop(image, cut).expect("a crop is planned inside of the image")
}

/// The id of the likeliest class, and how likely it is, to two decimals.
fn said(model: &Model, logits: &[f32]) -> (u32, f64) {
    let class = highest(logits);
    let likely = probabilities(logits, model.temperature())[class];
    (model.card.classes[class].id, rounded(likely))
}

/// To two decimals.
fn rounded(score: f64) -> f64 {
    (score * 100.0).round() / 100.0
}
