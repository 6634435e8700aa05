//! Detectors: what they find in images, and how they learn it.
//!
//! Beside `network`, `learning` and the device, nothing else in this package knows what networks are made with.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cellmill_core::detection::{Found, Scene, Settings, Truth, average_precision};
use cellmill_core::model::{EpochFigures, Measured, ModelInput};
use cellmill_core::training::{DetectorSettings, TrainParameters};
use cellmill_nets::dense::{DenseEpoch, DenseOptions, DenseStep, Field, Picture};
use cellmill_nets::detector::{
    CellBox, DetectorTask, DetectorTrainer, LabelledBox, Tiles, step_bytes,
};
use cellmill_nets::models::Pyramid;
use cellmill_nets::{Augment, Detector, Family, OpenDevice, Scale};
use cellmill_vision::{RgbImage, resize};
use cellmill_worker::{Cause, Failure};

use crate::algorithms::refuse;
use crate::learner::{Learner, Step, ToldEpoch};
use crate::learning::{Fit, Need, PRETRAINED_BODY_RATE, Weights, named};
use crate::network::name_of;

pub(crate) use cellmill_nets::detector::FindOptions;

/// Pixels of a usual cell's side, as the network sees it: large enough to tell cells apart, small enough that a field
/// is looked through quickly.
const SEEN_SIDE: f64 = 54.0;
/// Small cells are seen larger by at most this.
const MAX_ZOOM: f64 = 2.0;
const MIN_ZOOM: f64 = 0.02;
/// Boxes that are less sure take no part in figures: average precision asks for nearly all.
const LEAST_SCORE: f32 = 0.01;
/// Boxes of an image that count for figures, beyond COCO's 100: a field holds hundreds of cells.
pub(crate) const MAX_BOXES: usize = 1000;
/// A training is measured after every epoch when it has few, else after each so many.
const FEW_EPOCHS: u32 = 10;
const MEASURED_EVERY: u32 = 5;
/// Images that an epoch is measured with: enough to see a curve.
const MAX_MEASURED: usize = 50;

/// A field of view in the size that the network sees, with its cells.
pub(crate) type SeenField = Field<Vec<LabelledBox>>;

/// A cell in an image, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FoundCell {
    /// Index of the class.
    pub(crate) class: usize,
    /// `[x1, y1, x2, y2]`, right and bottom exclusive.
    pub(crate) bbox: [f64; 4],
    pub(crate) score: f64,
}

/// A detector that answers.
#[derive(Debug)]
pub(crate) struct LearnedFinder(Detector);

/// What a detector is, as its file says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) family: String,
    pub(crate) scale: String,
    pub(crate) width: u32,
    pub(crate) n_classes: usize,
    pub(crate) input: ModelInput,
    /// Pixels that the network sees for one of the image.
    pub(crate) zoom: f64,
    /// Half of a usual cell's side, in pixels of the image.
    pub(crate) reach: f64,
}

impl LearnedFinder {
    pub(crate) fn of_bytes(bytes: &[u8], device: &OpenDevice) -> Result<Self, Cause> {
        Ok(Self(Detector::from_bytes(bytes, device)?))
    }

    /// The file. Equal detectors give equal bytes.
    pub(crate) fn file(&mut self) -> Result<Vec<u8>, Cause> {
        Ok(self.0.to_bytes()?)
    }

    pub(crate) fn shape(&self) -> Shape {
        let spec = self.0.spec();
        let network = spec.task.network;
        Shape {
            family: name_of(network.family),
            scale: name_of(network.scale),
            width: network.width as u32,
            n_classes: spec.task.n_classes(),
            input: ModelInput {
                side: 0,
                gray: spec.gray,
                mean: spec.normalisation.mean,
                std: spec.normalisation.deviation,
            },
            zoom: spec.scale,
            reach: f64::from(spec.task.reach) / spec.scale,
        }
    }

    /// The cells of an image, the surest first.
    pub(crate) fn find(
        &mut self,
        image: &RgbImage,
        options: &FindOptions,
    ) -> Result<Vec<FoundCell>, Cause> {
        let [width, height] = [image.width, image.height].map(|it| self.0.seen_length(it as usize));
        let seen = resize(image, width as u32, height as u32);
        let picture = Picture::new(width, height, seen.data)?;
        let found = self.0.find(&picture, &Tiles::default(), options)?;
        let across = f64::from(image.width) / width as f64;
        let down = f64::from(image.height) / height as f64;
        let cell = |it: CellBox| {
            let [x1, y1, x2, y2] = it.bbox.map(f64::from);
            FoundCell {
                class: it.class,
                bbox: [x1 * across, y1 * down, x2 * across, y2 * down],
                score: f64::from(it.score),
            }
        };
        Ok(found.into_iter().map(cell).collect())
    }

    /// What it makes of a field that is seen already, as figures are made of it: classes are indices, places those of
    /// the field.
    pub(crate) fn scene(&mut self, field: &SeenField) -> Result<Scene, Cause> {
        let options = FindOptions {
            min_score: LEAST_SCORE,
            ..FindOptions::default()
        };
        let found = self.0.find(&field.picture, &Tiles::default(), &options)?;
        let truth = field.truth.iter().map(|it| Truth {
            class: it.class as u32,
            bbox: it.bbox.map(f64::from),
            crowd: false,
        });
        let found = found.iter().map(|it| Found {
            class: it.class as u32,
            bbox: it.bbox.map(f64::from),
            score: f64::from(it.score),
        });
        Ok(Scene {
            truth: truth.collect(),
            found: found.collect(),
        })
    }
}

/// An image as the network sees it.
pub(crate) fn seen(image: &RgbImage, zoom: f64, truth: Vec<LabelledBox>) -> SeenField {
    let length = |it: u32| ((f64::from(it) * zoom).round() as u32).max(1);
    let (width, height) = (length(image.width), length(image.height));
    let picture = resize(image, width, height);
    let across = width as f32 / image.width as f32;
    let down = height as f32 / image.height as f32;
    let smaller = |it: LabelledBox| {
        let [x1, y1, x2, y2] = it.bbox;
        LabelledBox {
            bbox: [x1 * across, y1 * down, x2 * across, y2 * down],
            ..it
        }
    };
    let picture = Picture::new(width as usize, height as usize, picture.data);
    Field {
        picture: picture.expect("an image has its pixels"),
        truth: truth.into_iter().map(smaller).collect(),
    }
}

/// Pixels that a network sees for one of images whose cells have these sides: such that a usual one is seen well.
pub(crate) fn zoom_for(mut sides: Vec<f64>) -> f64 {
    let zoom = SEEN_SIDE / median(&mut sides).unwrap_or(SEEN_SIDE).max(1.0);
    // Two digits say enough, and a cell more or less changes nothing.
    ((zoom * 100.0).round() / 100.0).clamp(MIN_ZOOM, MAX_ZOOM)
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The side of a square as large as a box.
pub(crate) fn side_of(bbox: &[f32; 4]) -> f64 {
    let [x1, y1, x2, y2] = bbox.map(f64::from);
    ((x2 - x1) * (y2 - y1)).sqrt()
}

/// A training of a detector between two epochs.
#[derive(Debug)]
pub(crate) struct DetectorTraining {
    trainer: DetectorTrainer,
    validation: Arc<Vec<SeenField>>,
    zoom: f64,
    /// What measuring took, which the trainer does not know of.
    measuring: Duration,
}

/// What a training is to begin with.
#[derive(Clone, Debug)]
pub(crate) struct DetectorPlan {
    pub(crate) task: DetectorTask,
    pub(crate) options: DenseOptions,
    pub(crate) zoom: f64,
}

impl DetectorPlan {
    /// All problems of the settings are named at once. `fields` are those to learn from.
    pub(crate) fn new(
        parameters: &TrainParameters,
        settings: &DetectorSettings,
        fields: &[SeenField],
        zoom: f64,
    ) -> Result<Self, Failure> {
        let mut problems = Vec::new();
        let known = Family::ALL.map(Family::name).join(", ");
        let family = named::<Family>("family", &settings.family, &known, &mut problems);
        let scales = "small, normal, big";
        let scale = named::<Scale>("scale", &settings.scale, scales, &mut problems);
        if !problems.is_empty() {
            let problems = problems.join("; ");
            return Err(refuse(format!(
                "the training's settings can't be: {problems}"
            )));
        }
        let boxes = fields.iter().flat_map(|it| &it.truth);
        let mut sides: Vec<f64> = boxes.map(|it| side_of(&it.bbox)).collect();
        let reach = median(&mut sides).unwrap_or(SEEN_SIDE) / 2.0;
        let defaults = DenseOptions::default();
        let task = DetectorTask {
            network: Pyramid {
                family: family.unwrap_or_default(),
                scale: scale.unwrap_or_default(),
                width: settings.width as usize,
                n_outputs: DetectorTask::n_outputs_for(parameters.types.len()),
            },
            reach: (reach as f32).max(1.0),
        };
        let options = DenseOptions {
            epochs: settings.epochs,
            batch: settings.batch as usize,
            side: settings.side as usize,
            learning_rate: settings.learning_rate,
            weight_decay: settings.weight_decay,
            warm_up_epochs: defaults.warm_up_epochs.min(f64::from(settings.epochs)),
            scale_jitter: if settings.augment {
                settings.scale_jitter
            } else {
                0.0
            },
            augment: if settings.augment {
                defaults.augment
            } else {
                Augment::NONE
            },
            seed: parameters.seed,
            gray: settings.gray,
            body_rate: match &settings.weights {
                Some(_) => settings.body_rate.unwrap_or(PRETRAINED_BODY_RATE),
                None => 1.0,
            },
            ema: settings.ema,
            ..defaults
        };
        Ok(Self {
            task,
            options,
            zoom,
        })
    }

    /// What a step of it takes.
    pub(crate) fn need(&self) -> Result<Need, Cause> {
        let network = self.task.network;
        Ok(Need {
            network: format!(
                "a detector over {} {}",
                name_of(network.family),
                name_of(network.scale)
            ),
            batch: self.options.batch,
            side: self.options.side,
            bytes: step_bytes(&self.task, &self.options)?,
        })
    }
}

impl DetectorTraining {
    pub(crate) fn begin(
        plan: &DetectorPlan,
        fields: &Arc<Vec<SeenField>>,
        validation: &Arc<Vec<SeenField>>,
        device: &OpenDevice,
        weights: Option<&Weights>,
    ) -> Result<Self, Cause> {
        let trainer = DetectorTrainer::new(
            plan.task,
            plan.options.clone(),
            Arc::clone(fields),
            device,
            weights.map(Weights::foreign),
        )?;
        Ok(Self {
            trainer,
            validation: Arc::clone(validation),
            zoom: plan.zoom,
            measuring: Duration::ZERO,
        })
    }

    /// Goes on from a checkpoint of the same training, to the same bits.
    pub(crate) fn resumed(self, checkpoint: &[u8]) -> Result<Self, Cause> {
        Ok(Self {
            trainer: self.trainer.resumed(checkpoint)?,
            ..self
        })
    }

    /// What the weights that it began with are to it.
    pub(crate) fn fit(&self, weights: &Weights) -> Result<Fit, Cause> {
        let mut layers = self.trainer.fresh()?;
        let family = self.trainer.task().network.family;
        let report = cellmill_nets::weights::load_below(&mut layers, weights.foreign(), family)?;
        Ok(weights.fit_of(&report))
    }

    /// Its epochs so far, as reports tell them.
    pub(crate) fn epochs(&self) -> Vec<EpochFigures> {
        let reports = self.trainer.reports();
        let figures = reports.iter().map(|it| EpochFigures {
            epoch: it.epoch,
            learning_rate: it.learning_rate,
            train_loss: it.train_loss,
            train_accuracy: 0.0,
            validation: Measured::default(),
            ap50: it.score,
            // The last epoch counts: weights are averaged, and the rate has come down.
            is_best: it.epoch as usize == reports.len(),
        });
        figures.collect()
    }

    /// The detector that it would end with now.
    pub(crate) fn finder(&self) -> Result<LearnedFinder, Cause> {
        Ok(LearnedFinder(self.trainer.detector(self.zoom)?))
    }

    /// Average precision at an overlap of .50 on the validation part, when it is time to measure it.
    fn measure(&mut self) -> Result<(), Cause> {
        let (done, all) = (self.trainer.epochs_done(), self.trainer.options().epochs);
        let is_time = all <= FEW_EPOCHS || done.is_multiple_of(MEASURED_EVERY) || done == all;
        if !is_time || self.validation.is_empty() {
            return Ok(());
        }
        let mut finder = self.finder()?;
        let fields = self.validation.iter().take(MAX_MEASURED);
        let scenes: Result<Vec<Scene>, Cause> = fields.map(|it| finder.scene(it)).collect();
        let settings = Settings {
            max_dets: MAX_BOXES,
            is_agnostic: false,
        };
        let figures = average_precision(&scenes?, &settings).overall;
        self.trainer.set_score(figures.ap50.unwrap_or(0.0));
        Ok(())
    }
}

impl Learner for DetectorTraining {
    fn epochs(&self) -> u32 {
        self.trainer.options().epochs
    }

    fn epochs_done(&self) -> u32 {
        self.trainer.epochs_done()
    }

    fn done(&self) -> f64 {
        f64::from(self.trainer.epochs_done()) / f64::from(self.trainer.options().epochs)
    }

    fn spent(&self) -> Duration {
        self.trainer.spent() + self.measuring
    }

    fn is_over(&self) -> bool {
        self.trainer.is_finished()
    }

    fn so_far(&self) -> Option<String> {
        let measured = self.trainer.reports().iter().rev().find_map(|it| it.score);
        measured.map(|it| format!("AP50 {it:.2}"))
    }

    fn epoch(
        &mut self,
        watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Option<ToldEpoch>, Cause> {
        let (before, epochs) = (self.done(), self.trainer.options().epochs);
        let report = self.trainer.epoch(&mut |step: DenseStep| {
            let of_epoch = step.step as f64 / step.n_steps as f64;
            watch(Step {
                epoch: step.epoch,
                done: before + of_epoch / f64::from(epochs),
                loss: step.loss,
            })
        })?;
        let Some(DenseEpoch {
            epoch, train_loss, ..
        }) = report
        else {
            return Ok(None);
        };
        let begun = Instant::now();
        self.measure()?;
        self.measuring += begun.elapsed();
        let last = self.trainer.reports().last();
        let measured = last.and_then(|it| it.score);
        let measured = measured.map(|it| format!(", AP50 {it:.2}"));
        Ok(Some(ToldEpoch {
            epoch,
            figures: format!("loss {train_loss:.2}{}", measured.unwrap_or_default()),
            is_best: false,
        }))
    }

    fn checkpoint(&mut self) -> Result<Vec<u8>, Cause> {
        Ok(self.trainer.checkpoint()?)
    }

    fn is_at_its_best(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_cell_is_seen_at_its_side_and_odd_ones_within_limits() {
        assert!((zoom_for(vec![20.0, 108.0, 500.0]) - 0.5).abs() < 1e-9);
        assert!((zoom_for(vec![3.0]) - MAX_ZOOM).abs() < 1e-9);
        assert!((zoom_for(vec![1e6]) - MIN_ZOOM).abs() < 1e-9);
        assert!((zoom_for(Vec::new()) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn boxes_shrink_with_their_image() {
        let image = RgbImage::filled(201, 100, [200, 10, 10]);
        let cell = LabelledBox {
            class: 1,
            bbox: [0.0, 20.0, 201.0, 100.0],
        };
        let field = seen(&image, 0.5, vec![cell]);
        assert_eq!((field.picture.width(), field.picture.height()), (101, 50));
        let expected = [0.0, 10.0, 101.0, 50.0];
        for (found, expected) in field.truth[0].bbox.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    }
}
