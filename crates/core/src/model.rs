//! Model cards: what a model file is, where it comes from, how good it is.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::document::Stamp;
use crate::impl_document;
use crate::keys::ModelKind;
use crate::metrics::{ClassMetrics, Confusion};
use crate::split::SplitRule;
use crate::training::{DetectorSettings, MergedClass, NetworkSettings};

/// `modules/classifier/<mid>.safetensors.json`: the card beside the model file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The model's number: 1 to 99 shipped, from 100 a lab's own.
    pub mid: u64,
    #[serde(default)]
    pub description: String,
    /// What it tells: the class of a cell, or where cells are.
    #[serde(default = "classifier", skip_serializing_if = "is_classifier")]
    pub kind: ModelKind,
    /// Key of the model file.
    pub file: String,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
    pub state: ModelState,
    /// In the order of the network's outputs.
    pub classes: Vec<ModelClass>,
    pub input: ModelInput,
    /// `mobilenet`
    pub family: String,
    /// `small`, `normal`, `big`
    pub scale: String,
    /// Width of the layer before the classes.
    pub features: u32,
    /// Which workers can run it.
    #[serde(default = "cpu")]
    pub unit_class: String,
    /// The predecessor's number of its kind, 1 to 8 (FORMATS A.3): only its workers can run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtype: Option<u8>,
    /// Absent in an imported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Measured>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Measured>,
    /// A colour histogram with logistic regression, learned from the same cells and judged by the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Measured>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Of two classes: which threshold keeps which recall of the second, on the validation part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
    /// Of a detector: how it looks at images, and how good it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorFacts>,
    /// Models it is made from, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<u64>,
    /// Who decided about its state, and when; absent until somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
}

impl_document!(ModelCard);

impl ModelCard {
    /// The card of a model file of which nothing else is known yet.
    pub fn of_file(mid: u64, file: String, bytes: u64, sha256: String) -> Self {
        Self {
            stamp: Stamp::default(),
            mid,
            description: String::new(),
            kind: ModelKind::Classifier,
            file,
            bytes,
            sha256,
            state: ModelState::Ready,
            classes: Vec::new(),
            input: ModelInput {
                side: 0,
                gray: false,
                mean: [0.0; 3],
                std: [1.0; 3],
            },
            family: String::new(),
            scale: String::new(),
            features: 0,
            unit_class: cpu(),
            mtype: None,
            training: None,
            validation: None,
            test: None,
            baseline: None,
            calibration: None,
            thresholds: Vec::new(),
            detector: None,
            lineage: Vec::new(),
            decided: None,
        }
    }
}

const fn classifier() -> ModelKind {
    ModelKind::Classifier
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_classifier(it: &ModelKind) -> bool {
    matches!(it, ModelKind::Classifier)
}

fn cpu() -> String {
    "cpu".to_owned()
}

/// How far a model came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// Its file is on its way.
    Uploading,
    /// Usable.
    Ready,
    /// A periodic training made it; it was not better than what is in use.
    Proposed,
    /// Usable, and chosen for at least one label type.
    Adopted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelClass {
    pub id: u32,
    pub name: String,
}

/// What the network wants to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInput {
    /// Pixels: `side` x `side` x 3.
    pub side: u32,
    pub gray: bool,
    /// Per channel, of values 0 to 1: what is subtracted, and what is divided by.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Where the weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingFacts {
    /// Directories of the project and the data set.
    pub project: String,
    pub dataset: String,
    /// The hash of the data set's frozen input.
    pub snapshot: String,
    pub split: SplitRule,
    /// How cells were dealt out in fact: `case`, `image`, `cell`.
    pub split_unit: String,
    pub seed: u64,
    pub settings: NetworkSettings,
    /// Of a detector, in place of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Box<DetectorSettings>>,
    /// The weights that it began with; absent: fresh ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsFacts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge: Vec<MergedClass>,
    pub n_train: u64,
    pub n_validation: u64,
    pub n_test: u64,
    pub epochs_run: u32,
    pub best_epoch: u32,
    /// It was ended before its last epoch: `time`, `patience`, `stopped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// Equal on equal ones, bit for bit.
    pub instruction_set: String,
    pub threads: u32,
    pub device: String,
    /// What a reader should know: `dealt out by image: the data has 1 case`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Figures on one part of the cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub n: u64,
    pub accuracy: f64,
    pub balanced_accuracy: f64,
    pub macro_f1: f64,
    /// Always saying the most frequent class.
    pub majority_accuracy: f64,
    /// Rows: truth; columns: prediction; in the order of the classes.
    pub confusion: Confusion,
    pub per_class: Vec<ClassMetrics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}

impl Measured {
    pub fn of(confusion: &Confusion, loss: Option<f64>) -> Self {
        Self {
            n: confusion.total(),
            accuracy: confusion.accuracy(),
            balanced_accuracy: confusion.balanced_accuracy(),
            macro_f1: confusion.macro_f1(),
            majority_accuracy: confusion.majority_accuracy(),
            per_class: confusion.per_class(),
            confusion: confusion.clone(),
            loss,
        }
    }
}

/// How a detector looks at images, and how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorFacts {
    /// Pixels that the network sees for one of the image.
    pub zoom: f64,
    /// Half of a usual cell's side, in pixels of the image.
    pub reach: f64,
    /// Boxes that are surer count: where F1 is best on the validation part.
    pub min_score: f64,
    /// Of two boxes that overlap more (intersection over union), the surer one counts.
    pub max_overlap: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Detected>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Detected>,
}

/// How well cells are found on one part of the images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detected {
    pub n_images: u64,
    pub n_cells: u64,
    /// COCO's mean average precision over overlaps of .50 to .95, and at .50.
    pub ap: f64,
    pub ap50: f64,
    /// With the detector's threshold, at an overlap of .50.
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// In the order of the model's classes.
    pub per_class: Vec<DetectedClass>,
}

/// The same of one class; average precision is absent where no cell of it was to be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectedClass {
    pub class: u32,
    pub n_cells: u64,
    pub ap: Option<f64>,
    pub ap50: Option<f64>,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

/// How much the network's certainty is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Logits are divided by it before the softmax.
    pub temperature: f64,
    /// Expected calibration error on the validation part, 15 bins: as learned, and with the temperature.
    pub error_before: f64,
    pub error_after: f64,
}

/// One point of the way from "everything is positive" to "nothing is".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The recall that is kept.
    pub recall: f64,
    /// Positive from this (calibrated) probability on.
    pub threshold: f64,
    pub precision: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    pub at: DateTime<Utc>,
    pub by: String,
    pub why: String,
}

/// One epoch of a training, as the report has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochFigures {
    /// From 1.
    pub epoch: u32,
    pub learning_rate: f64,
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub validation: Measured,
    /// Of a detector: COCO's average precision at an overlap of .50, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ap50: Option<f64>,
    /// The best so far.
    pub is_best: bool,
}

/// The output `report` of a training's unit; collect writes its parts to their places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    pub v: u32,
    pub epochs: Vec<EpochFigures>,
    /// The card as it is to be written. Its file is the output `model`.
    pub card: ModelCard,
    /// Of a periodic training: the model in use, judged by the same test part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<Rival>,
    /// Of a search: every network that was tried, the chosen one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Where the time went, when somebody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<TrainProfile>,
}

/// Weights from elsewhere that a training began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsFacts {
    /// Of the file, lower-case hex.
    pub sha256: String,
    /// Its key.
    pub file: String,
    /// What it was found to be: `PyTorch`, `safetensors`, `Keras`.
    pub source: String,
    /// Values that were taken over.
    pub n_values: u64,
}

/// A network that a search tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub family: String,
    pub scale: String,
    /// It began with the weights that were given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pretrained: bool,
    /// Epochs that it was trained; 0: it was left out.
    pub epochs: u32,
    /// The epoch of the figures, from 1.
    pub best_epoch: u32,
    /// Of its best epoch on the validation part.
    pub macro_f1: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// `chosen`, or why not: `worse than half after 4 epochs`, `left out: ...`.
    pub outcome: String,
}

/// Where the time of a training went: that of the attempt that ended it, and of epochs before a resume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainProfile {
    pub parts: Vec<ProfilePart>,
    /// Pictures that were learned from, each as often as it was.
    pub pictures: u64,
    pub steps: u64,
    /// Reading, decoding and all passes over the training part, without validation.
    pub seconds: f64,
    /// Pictures in that time.
    pub images_per_s: f64,
    /// Pictures in the time of forward, backward and optimiser.
    pub compute_only_images_per_s: f64,
}

/// One part of a [`TrainProfile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfilePart {
    /// `read`, `decode`, `augment`, `wait`, `forward`, `backward`, `optimiser`, `validate`
    pub name: String,
    pub seconds: f64,
    /// It went on beside other parts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
}

/// The model in use that a proposed one is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rival {
    pub mid: u64,
    pub test: Measured,
}

impl TrainReport {
    /// Is the new model at least as good as the one in use? By balanced accuracy on the same test part.
    pub fn is_not_worse(&self) -> bool {
        match (&self.rival, &self.card.test) {
            (None, _) => true,
            (Some(rival), Some(test)) => test.balanced_accuracy >= rival.test.balanced_accuracy,
            (Some(_), None) => false,
        }
    }
}
