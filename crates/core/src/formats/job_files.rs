//! The three files of a project that the predecessor only named (decision 6): `lists.json`, `train.json`,
//! `predict.json`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dataset::ClassCount;
use super::project::{PredictedCell, ProjectInfo};
use crate::snapshot::SnapshotHash;

/// `projects/<dir>/lists.json`: the data sets that a project uses, and where their cells came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectLists {
    pub v: u32,
    /// The project's directory.
    pub dir: String,
    pub lists: Vec<ProjectList>,
}

/// One data set of a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectList {
    /// The data set's directory.
    pub ddir: String,
    pub snapshot: SnapshotHash,
    /// Keys of its tables.
    pub filelist: String,
    pub cellslist: String,
    /// Images of the data set.
    pub images: u64,
    /// Cells of the chosen classes: those that lay in the cache, and those that were cut anew.
    pub cells: u64,
    pub cells_cached: u64,
    pub cells_cut: u64,
    /// The chosen classes, ascending.
    pub types: Vec<ClassCount>,
}

/// `projects/<dir>/train.json` and `predict.json`, as readers outside may rely on them.
///
/// The file is the record of the job: its parameters, state and result. Beside them stand the keys of the project's
/// `info.json`, so that readers of the legacy `predict.json` find what they look for; they skip the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectJobFile {
    pub v: u32,
    pub rev: u64,
    pub write: String,
    /// `train` or `predict`.
    pub kind: String,
    pub number: u64,
    pub parameters: Value,
    /// `assembling`, `queued`, `running`, `collecting`, `done`, `failed`, `cancelled`.
    pub state: String,
    pub round: u32,
    /// When the state is `done`. Of a prediction: a list of [`ClassResult`](super::ClassResult).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// `Some` in `predict.json`, and always empty: the cells stand in `predict2.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop_cells: Option<Vec<PredictedCell>>,
    #[serde(flatten)]
    pub project: ProjectInfo,
}

/// The keys of a project's `info.json` that stand in its job record too, beside those that the record has anyway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectKeys {
    pub id: u64,
    pub did: u64,
    pub ddir: String,
    pub status: u32,
    #[serde(rename = "type")]
    pub project_type: u32,
    pub types: Vec<u32>,
    pub modpath: String,
    pub parameter_time: u64,
    pub parameter_resize: u32,
    pub parameter_mid: u64,
    pub parameter_type: u32,
    /// In `predict.json` only, and always empty: the cells stand in `predict2.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop_cells: Option<Vec<PredictedCell>>,
}

impl ProjectKeys {
    /// What `info.json` of the project in `dir` says.
    pub fn info(&self, dir: &str) -> ProjectInfo {
        ProjectInfo {
            id: self.id,
            did: self.did,
            ddir: self.ddir.clone(),
            dir: dir.to_owned(),
            status: self.status,
            project_type: self.project_type,
            types: self.types.clone(),
            modpath: self.modpath.clone(),
            parameter_time: self.parameter_time,
            parameter_resize: self.parameter_resize,
            parameter_mid: self.parameter_mid,
            parameter_type: self.parameter_type,
            ..ProjectInfo::default()
        }
    }
}
