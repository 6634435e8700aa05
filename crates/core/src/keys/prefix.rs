//! The prefixes that are listed. A listing never spells a path itself.

use crate::ids::{BatchId, CaseId, Dir, PointsDate, UlidText};

use super::{ImageKey, ImageRoot, ModelKind, NumberKind, UnitKey};

/// A folder to list. The text ends with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// All images of one root: `img/` or `scratch/img/`.
    Images(ImageRoot),
    /// The cases of a batch: `img/<batch>/`.
    ImageBatch(ImageRoot, BatchId),
    /// The images of a case: `img/<batch>/<case>/Images/`.
    ImageCase(ImageRoot, BatchId, CaseId),
    /// All records of one root: `records/img/`.
    ImageRecords(ImageRoot),
    /// The cases of a batch, by their records.
    ImageRecordsOfBatch(ImageRoot, BatchId),
    /// The records of a case.
    ImageRecordsOfCase(ImageRoot, BatchId, CaseId),
    /// All doctors' points.
    Points,
    /// The dates of a batch: `csv/<batch>/`.
    PointsOfBatch(BatchId),
    /// The points of one case and date: `csv/<batch>/<date>/<case>/`.
    PointsOfCase(BatchId, PointsDate, CaseId),
    /// The records of all CSVs.
    PointsRecords,
    /// The records of a batch's CSVs.
    PointsRecordsOfBatch(BatchId),
    /// The records of one case's and date's CSVs.
    PointsRecordsOfCase(BatchId, PointsDate, CaseId),
    /// Labels of one root's images.
    Labels(ImageRoot),
    /// All job rounds that are not ended.
    Active,
    /// Records and outputs of all units.
    Units,
    /// All units of a job.
    UnitsOfJob(Dir),
    /// Outputs of one attempt of a unit.
    Attempt(UnitKey, u32),
    /// Everything of one data set.
    Dataset(Dir),
    Datasets,
    Projects,
    /// Everything of one project.
    Project(Dir),
    /// Model files and cards of one kind.
    Models(ModelKind),
    /// Packs of a data set.
    Packs(Dir),
    /// Frozen inputs of a data set's units.
    Inputs(Dir),
    Numbers(NumberKind),
    ClassTables,
    LabelTypes,
    Workers,
    /// Sessions of uploads in parts, and the parts that wait.
    Uploads,
    /// The parts of one upload.
    UploadParts(UlidText),
    /// Audit entries; days sort by time.
    Audit,
    /// The audit entries of one day, UTC.
    AuditDay {
        year: u16,
        month: u8,
        day: u8,
    },
    Cache,
    /// The cut cells of a case: `scratch/<batch>/<case>/cells/`.
    Cells(BatchId, CaseId),
}

impl Prefix {
    pub fn to_path(&self) -> String {
        match self {
            Self::Images(root) => root.to_path().to_owned(),
            Self::ImageBatch(root, batch) => format!("{}{batch}/", root.to_path()),
            Self::ImageCase(root, batch, case) => ImageKey::folder(*root, batch, case),
            Self::ImageRecords(root) => format!("records/{}", root.to_path()),
            Self::ImageRecordsOfBatch(root, batch) => format!("records/{}{batch}/", root.to_path()),
            Self::ImageRecordsOfCase(root, batch, case) => {
                format!("records/{}", ImageKey::folder(*root, batch, case))
            }
            Self::Points => "csv/".to_owned(),
            Self::PointsOfBatch(batch) => format!("csv/{batch}/"),
            Self::PointsOfCase(batch, date, case) => format!("csv/{batch}/{date}/{case}/"),
            Self::PointsRecords => "records/csv/".to_owned(),
            Self::PointsRecordsOfBatch(batch) => format!("records/csv/{batch}/"),
            Self::PointsRecordsOfCase(batch, date, case) => {
                format!("records/csv/{batch}/{date}/{case}/")
            }
            Self::Labels(root) => format!("labels/{}", root.to_path()),
            Self::Active => "active/".to_owned(),
            Self::Units => "units/".to_owned(),
            Self::UnitsOfJob(dir) => format!("units/{dir}/"),
            Self::Attempt(unit, attempt) => format!("{}/{attempt:05}/", unit.folder()),
            Self::Dataset(dir) => format!("datasets/{dir}/"),
            Self::Datasets => "datasets/".to_owned(),
            Self::Projects => "projects/".to_owned(),
            Self::Project(dir) => format!("projects/{dir}/"),
            Self::Models(kind) => format!("modules/{}/", kind.as_str()),
            Self::Packs(dir) => format!("datasets/{dir}/packs/"),
            Self::Inputs(dir) => format!("datasets/{dir}/inputs/"),
            Self::Numbers(kind) => format!("ids/{}/", kind.as_str()),
            Self::ClassTables => "classes/".to_owned(),
            Self::LabelTypes => "labels/types/".to_owned(),
            Self::Workers => "workers/".to_owned(),
            Self::Uploads => "uploads/".to_owned(),
            Self::UploadParts(upload) => format!("uploads/{upload}/"),
            Self::Audit => "audit/".to_owned(),
            Self::AuditDay { year, month, day } => format!("audit/{year:04}/{month:02}/{day:02}/"),
            Self::Cache => "cache/".to_owned(),
            Self::Cells(batch, case) => format!("scratch/{batch}/{case}/cells/"),
        }
    }

    /// Every folder that is one case's alone: its photographs first, as all else is derived from them, its records last,
    /// as they say what else there is. Points lie apart, by their dates.
    pub fn folders_of_case(batch: &BatchId, case: &CaseId) -> Vec<String> {
        let images = ImageRoot::ALL.map(|it| format!("{}{batch}/{case}/", it.to_path()));
        let of_images = |folder: &str| images.clone().map(|it| format!("{folder}/{it}"));
        let mut folders = images.to_vec();
        folders.push(format!("scratch/{batch}/{case}/"));
        folders.push(format!("review/{batch}/{case}/"));
        folders.push(format!("scratch/review/{batch}/{case}/"));
        folders.extend(of_images("masks"));
        folders.extend(of_images("labels"));
        folders.push(format!("records/stems/{batch}/{case}/"));
        folders.extend(of_images("records"));
        folders
    }
}
