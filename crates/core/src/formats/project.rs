//! Files of a project: `info.json`, `mod.json`, `predict2.json`, `predict.json`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lenient;
use crate::boxes::BBox;

/// `projects/<dir>/info.json`: what the project asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectInfo {
    #[serde(deserialize_with = "lenient::number")]
    pub id: u64,
    /// The data set's number and directory.
    #[serde(deserialize_with = "lenient::number")]
    pub did: u64,
    pub ddir: String,
    pub dir: String,
    /// Written once, with 1.
    #[serde(default, deserialize_with = "lenient::number")]
    pub status: u32,
    /// 2 train, 3 predict.
    #[serde(rename = "type", deserialize_with = "lenient::number")]
    pub project_type: u32,
    /// The chosen classes, in the order in which their cells are taken.
    #[serde(default, deserialize_with = "lenient::numbers")]
    pub types: Vec<u32>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub modpath: String,
    /// Longest training, in seconds.
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_time: u64,
    /// Side of the network's input, in pixels.
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_resize: u32,
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_mid: u64,
    /// 0: the cells have no true class; 1: they have.
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_type: u32,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `projects/<dir>/predict2.json`, and `predict.json` with no cells.
///
/// Write millions of cells with [`ListStream`](super::ListStream) and the key `crop_cells`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictResult {
    #[serde(flatten)]
    pub project: ProjectInfo,
    #[serde(default, deserialize_with = "lenient::list")]
    pub crop_cells: Vec<PredictedCell>,
    #[serde(default, deserialize_with = "lenient::list")]
    pub result: Vec<ClassResult>,
}

/// One cell with the class that a model gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedCell {
    #[serde(deserialize_with = "lenient::number")]
    pub predict: u32,
    /// The true class, or the predicted one where the truth is not known.
    #[serde(rename = "type", deserialize_with = "lenient::number")]
    pub true_type: u32,
    /// The key of the cell's picture in the project.
    pub url: String,
    /// Certainty, 0 to 1 in steps of 0.01; like what follows, absent in files of the autokeras worker.
    #[serde(
        default,
        deserialize_with = "lenient::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub score: Option<f64>,
    /// The same as it was calculated, in steps of 0.000001: what ranked galleries sort by. A key of ours.
    #[serde(
        default,
        deserialize_with = "lenient::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub probability: Option<f64>,
    /// What was cut, in pixels of the image.
    #[serde(flatten)]
    pub crop: Option<BBox>,
    /// The image's number.
    #[serde(
        default,
        deserialize_with = "lenient::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub imgid: Option<u64>,
}

/// How many cells of a class there are, and how many of them the model got right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassResult {
    #[serde(rename = "type", deserialize_with = "lenient::number")]
    pub class: u32,
    #[serde(deserialize_with = "lenient::number")]
    pub total: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub correct: u64,
}

impl ClassResult {
    /// The results of some cells, ascending by class.
    ///
    /// `is_labelled` (`parameter_type` 1): by true class, right where the prediction is the same. Else by predicted
    /// class, and all of them count as right.
    pub fn of_cells<'a>(
        cells: impl IntoIterator<Item = &'a PredictedCell>,
        is_labelled: bool,
    ) -> Vec<Self> {
        let mut counts = std::collections::BTreeMap::<u32, (u64, u64)>::new();
        for cell in cells {
            let class = if is_labelled {
                cell.true_type
            } else {
                cell.predict
            };
            let (total, correct) = counts.entry(class).or_default();
            *total += 1;
            *correct += u64::from(!is_labelled || cell.true_type == cell.predict);
        }
        counts
            .into_iter()
            .map(|(class, (total, correct))| Self {
                class,
                total,
                correct,
            })
            .collect()
    }
}

/// `projects/<dir>/mod.json`: what a training brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainResult {
    #[serde(default, deserialize_with = "lenient::number")]
    pub n_train: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub n_classes: u32,
    /// `100x100x3`: height, width, channels.
    #[serde(default)]
    pub input_shape: String,
    /// Every model that was tried.
    #[serde(default, deserialize_with = "lenient::list")]
    pub history: Vec<SearchedModel>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub model_count: u32,
    #[serde(default, deserialize_with = "lenient::number")]
    pub best_model: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub loss: f64,
    /// Accuracy on the validation part.
    #[serde(default, deserialize_with = "lenient::number")]
    pub metric_value: f64,
    /// Accuracy on the test part, after the last fit.
    #[serde(default, deserialize_with = "lenient::number")]
    pub evaluate_value: f64,
    /// 0 until the model is saved.
    #[serde(default, deserialize_with = "lenient::number")]
    pub id: u64,
    /// The kind of model: 5 autokeras, 6 mala, ...
    #[serde(rename = "type", default, deserialize_with = "lenient::number")]
    pub model_type: u32,
    #[serde(default, deserialize_with = "lenient::numbers")]
    pub types: Vec<u32>,
    /// The project's number.
    #[serde(default, deserialize_with = "lenient::number")]
    pub pid: u64,
    /// The key of the model file.
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub desc: String,
    /// -1: not measured.
    #[serde(default, deserialize_with = "lenient::number")]
    pub recall: f64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub precision: f64,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One model that a training tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchedModel {
    #[serde(deserialize_with = "lenient::number")]
    pub model_id: u64,
    #[serde(deserialize_with = "lenient::number")]
    pub loss: f64,
    #[serde(deserialize_with = "lenient::number")]
    pub metric_value: f64,
}
