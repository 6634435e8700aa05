//! Files of data sets and projects, as their readers expect them (FORMATS A.6, A.7).
//!
//! Readers take every form that was ever written: numbers as texts, `null` for an empty list, absolute paths, older
//! columns. Writers write one form: the newest, with decisions 1, 6, 17 and 18. Each JSON has a schema and a sample in
//! `crates/core/schemas`.

mod cells_list;
mod dataset;
mod file_list;
mod job_files;
mod json;
mod labels;
pub(crate) mod lenient;
mod paths;
mod project;
mod project_input;
mod statistics;
mod table;
#[cfg(test)]
mod tests;

pub use cells_list::{CellsList, CellsListRow};
pub use dataset::{ClassCount, DatasetInfo};
pub use file_list::{FileListRow, read_file_list, write_file_list};
pub use job_files::{ProjectJobFile, ProjectKeys, ProjectList, ProjectLists};
pub use json::{Indent, ListStream, to_json};
pub use labels::{LabelRow, read_labels, write_labels};
pub use paths::relative_path;
pub use project::{
    ClassResult, PredictResult, PredictedCell, ProjectInfo, SearchedModel, TrainResult,
};
pub use project_input::{CellImage, InputCell, InputPack, ProjectInput};
pub use statistics::DatasetCounts;
pub use table::TableError;
