//! What jobs are asked to do.

use serde::{Deserialize, Serialize};

use crate::ids::{BatchId, CaseId, Dir, TableName};
use crate::keys::JobKind;
use crate::training::{PredictParameters, TrainParameters};

/// What a job is to do.
#[expect(
    clippy::large_enum_variant,
    reason = "a process holds few of them, and a box would stand between every reader and the parameters"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobParameters {
    Data(DataParameters),
    Train(TrainParameters),
    Predict(PredictParameters),
}

impl JobParameters {
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Data(_) => JobKind::Data,
            Self::Train(_) => JobKind::Train,
            Self::Predict(_) => JobKind::Predict,
        }
    }

    /// The data set that a project stands on.
    pub const fn dataset(&self) -> Option<&Dir> {
        match self {
            Self::Data(_) => None,
            Self::Train(it) => Some(&it.ddir),
            Self::Predict(it) => Some(&it.ddir),
        }
    }
}

/// How cells are found and cut (FORMATS A.6, A.9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataParameters {
    /// Detector and classifier see grey; the stored crop stays in colour (decision 3).
    pub gray: bool,
    /// Side of a crop in pixels.
    pub size: u32,
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// The detector; 0 is the classical finder.
    pub mid: u64,
    /// A detector's boxes that are less sure are left out; `None`: by its own threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// Of two detections whose centres are no further apart, the surer one counts; `None`: by the predecessor's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_distance: Option<u32>,
    /// Write loose PNGs too, and use those that are there.
    pub cache: bool,
    /// Type 2: a point takes the nearest detection whose centre is less than this away, in pixels.
    pub match_radius: u32,
    /// Type 2: match boxes by overlap instead, at least this intersection over union.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_iou: Option<f64>,
    pub batches: Vec<BatchId>,
    /// Empty: all cases of the batches.
    pub cases: Vec<CaseId>,
    /// Only images with a label of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_type: Option<TableName>,
}

impl Default for DataParameters {
    fn default() -> Self {
        Self {
            gray: true,
            size: crate::boxes::DEFAULT_CROP_SIZE,
            data_type: DataType::Points,
            mid: 0,
            min_score: None,
            min_distance: None,
            cache: true,
            match_radius: 20,
            match_iou: None,
            batches: Vec::new(),
            cases: Vec::new(),
            label_type: None,
        }
    }
}

/// `parameter_type` of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum DataType {
    /// 0: every detection is a cell of class 100.
    Detect,
    /// 1: every labelled point is a cell of its class.
    Points,
    /// 2: detections that a doctor's point confirms, with the doctor's class.
    Both,
    /// 3: whole images with the class of their label.
    WholeImage,
}

impl DataType {
    pub const fn number(self) -> u8 {
        match self {
            Self::Detect => 0,
            Self::Points => 1,
            Self::Both => 2,
            Self::WholeImage => 3,
        }
    }

    pub const fn detects(self) -> bool {
        matches!(self, Self::Detect | Self::Both)
    }
}

impl From<DataType> for u8 {
    fn from(it: DataType) -> Self {
        it.number()
    }
}

impl TryFrom<u8> for DataType {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        [Self::Detect, Self::Points, Self::Both, Self::WholeImage]
            .into_iter()
            .find(|it| it.number() == number)
            .ok_or_else(|| {
                format!("data type {number} is none of 0 detect, 1 points, 2 both, 3 whole images")
            })
    }
}
