//! `datasets/<dir>/info.json` and `info2.json`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lenient;
use crate::job::{DataParameters, JobRecord, JobState};

/// What a data set is and, when it is done, what it holds.
///
/// `info.json` is written with [`Indent::One`](super::Indent) and empty lists of images and cells, `info2.json` with
/// [`Indent::Two`](super::Indent) and full ones. Where Go wrote `null` for a list, `[]` is written; both are read, and
/// so are numbers as texts. Unknown keys are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    #[serde(deserialize_with = "lenient::number")]
    pub id: u64,
    #[serde(default, deserialize_with = "lenient::text")]
    pub desc: String,
    pub dir: String,
    #[serde(default, deserialize_with = "lenient::list")]
    pub batchids: Vec<String>,
    #[serde(default, deserialize_with = "lenient::list")]
    pub medicalids: Vec<String>,
    /// The legacy number of the state: 1 ready, 2 processing, 3 error, 4 done.
    #[serde(default, deserialize_with = "lenient::number")]
    pub status: u32,
    /// Milliseconds; the predecessor left both at 0.
    #[serde(default, deserialize_with = "lenient::number")]
    pub createdatts: i64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub starttimets: i64,
    /// Keys of the images that have cells, ascending.
    #[serde(default, deserialize_with = "lenient::list")]
    pub origin_imgs: Vec<String>,
    /// Keys of the cells, ascending, each once.
    #[serde(default, deserialize_with = "lenient::list")]
    pub cells_crop: Vec<String>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub origin_total: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub cells_total: u64,
    /// Distinct batches, cases and images in cellslist.csv.
    #[serde(default, deserialize_with = "lenient::number")]
    pub batchcnt: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub medicalcnt: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub fovcnt: u64,
    /// Images and rows by finding, see [`DatasetCounts`](super::DatasetCounts).
    #[serde(default, deserialize_with = "lenient::number")]
    pub fovncnt: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub fovpcnt: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub labelncnt: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub labelpcnt: u64,
    /// Rows of cellslist.csv.
    #[serde(default, deserialize_with = "lenient::number")]
    pub labelcnt: u64,
    /// Rows per class, ascending by class.
    #[serde(default, deserialize_with = "lenient::list")]
    pub types: Vec<ClassCount>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub modpath: String,
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_gray: u8,
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_size: u32,
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_type: u8,
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_mid: u64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub parameter_cache: u8,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How many rows a class has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    #[serde(deserialize_with = "lenient::number")]
    pub celltype: u32,
    #[serde(deserialize_with = "lenient::number")]
    pub labelcnt: u64,
}

impl DatasetInfo {
    /// A data set as it stands before its cells are cut: ready, and nothing counted.
    pub fn of_job(job: &JobRecord, parameters: &DataParameters) -> Self {
        Self {
            id: job.number,
            desc: job.description.clone(),
            dir: job.dir.to_string(),
            batchids: parameters.batches.iter().map(ToString::to_string).collect(),
            medicalids: parameters.cases.iter().map(ToString::to_string).collect(),
            status: u32::from(JobState::Queued.legacy_status()),
            parameter_gray: u8::from(parameters.gray),
            parameter_size: parameters.size,
            parameter_type: parameters.data_type.number(),
            parameter_mid: parameters.mid,
            parameter_cache: u8::from(parameters.cache),
            ..Self::default()
        }
    }

    /// The same without the lists of images and cells, as `info.json` has it after cropping.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        Self {
            origin_imgs: Vec::new(),
            cells_crop: Vec::new(),
            ..self.clone()
        }
    }
}
