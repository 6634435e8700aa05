//! The keys themselves.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{
    BatchId, CaseId, Dir, IdError, ImageName, PointsDate, Stem, TableName, UlidText, WorkerId,
    image_number,
};

/// One object of the bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// A photograph.
    Image(ImageKey),
    /// A doctor's points for one image.
    Points(CsvKey),
    /// A cut cell: `scratch/<batch>/<case>/cells/<cell name>.png`. The name is parsed by `cell_name`.
    Cell {
        batch: BatchId,
        case: CaseId,
        name: String,
    },
    /// What is known of an image.
    ImageRecord(ImageKey),
    /// What is known of a CSV.
    PointsRecord(CsvKey),
    /// Where an image and the CSVs of the same stem find each other, whichever comes first.
    StemRecord(StemKey),
    /// The label document of an image.
    Label(ImageKey),
    LabelType(TableName),
    ClassTable(TableName),
    Dataset(Dir, DatasetFile),
    Project(Dir, ProjectFile),
    /// The record of a look-alike index.
    Index(Dir),
    Unit(UnitKey),
    /// An output of one attempt of a unit: `units/<dir>/<kind>-<nnnnn>/<attempt>/<file>`.
    UnitOutput {
        unit: UnitKey,
        attempt: u32,
        file: String,
    },
    /// The mark of a job round that is not ended.
    Active {
        kind: JobKind,
        dir: Dir,
        round: u32,
    },
    Number(NumberKind, u64),
    /// A model file: `modules/<kind>/<file>`.
    Model(ModelKey),
    /// The card beside a model file.
    ModelCard(ModelKey),
    /// Weights from elsewhere that trainings begin with: `modules/weights/<sha256>.<ending>`.
    Weights(WeightsKey),
    /// A derived picture, named by the sha256 of source and parameters.
    Cache(String),
    /// The session of an upload in parts.
    Upload(UlidText),
    /// A part that came, of an upload that is not complete: `uploads/<session>/<nnnnn>-<sha256>`. Only where the
    /// storage keeps no parts itself.
    UploadPart {
        upload: UlidText,
        /// From 1.
        number: u32,
        /// Of the part, lower-case hex.
        sha256: String,
    },
    Worker(WorkerId),
    /// The record of a case that is erased.
    Erasure(BatchId, CaseId),
    Audit {
        year: u16,
        month: u8,
        day: u8,
        id: UlidText,
    },
}

/// A text that starts like one of our keys but is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is not a key of the layout")]
pub struct KeyError {
    pub key: String,
    #[source]
    pub source: Option<IdError>,
}

/// Which tree an image lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageRoot {
    /// `img/`: hospital images, names as raw text.
    Hospital,
    /// `scratch/img/`: uploads through signed URLs, names URL-encoded.
    Upload,
}

impl ImageRoot {
    pub const ALL: [Self; 2] = [Self::Hospital, Self::Upload];

    pub const fn to_path(self) -> &'static str {
        match self {
            Self::Hospital => "img/",
            Self::Upload => "scratch/img/",
        }
    }
}

/// A photograph's key: its identity.
///
/// ```
/// use cellmill_core::keys::ImageKey;
/// let key: ImageKey = "img/20190523/1811001/Images/BloodImage00000.JPG".parse().unwrap();
/// assert_eq!(key.name.as_str(), "BloodImage00000.JPG");
/// assert!("img/20190523/BloodImage00000.JPG".parse::<ImageKey>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageKey {
    pub batch: BatchId,
    pub case: CaseId,
    pub root: ImageRoot,
    pub name: ImageName,
}

impl ImageKey {
    pub(super) fn folder(root: ImageRoot, batch: &BatchId, case: &CaseId) -> String {
        format!("{}{batch}/{case}/Images/", root.to_path())
    }

    pub fn to_path(&self) -> String {
        format!(
            "{}{}",
            Self::folder(self.root, &self.batch, &self.case),
            self.name
        )
    }

    /// The image's number, derived from its key.
    pub fn number(&self) -> u64 {
        image_number(&self.to_path())
    }

    /// The name as its owner wrote it, as far as the key still holds it.
    pub fn original_name(&self) -> String {
        match self.root {
            ImageRoot::Hospital => self.name.to_string(),
            ImageRoot::Upload => self.name.decoded(),
        }
    }

    fn of_parts(root: ImageRoot, parts: &[&str]) -> Result<Option<Self>, IdError> {
        let [batch, case, "Images", name] = parts else {
            return Ok(None);
        };
        Ok(Some(Self {
            batch: BatchId::parse(batch)?,
            case: CaseId::parse(case)?,
            root,
            name: ImageName::parse(name)?,
        }))
    }
}

/// `csv/<batch>/<date>/<case>/<stem>.csv`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CsvKey {
    pub batch: BatchId,
    pub date: PointsDate,
    pub case: CaseId,
    pub stem: Stem,
}

impl CsvKey {
    pub fn to_path(&self) -> String {
        format!(
            "csv/{}/{}/{}/{}.csv",
            self.batch, self.date, self.case, self.stem
        )
    }

    pub fn stem_key(&self) -> StemKey {
        StemKey {
            batch: self.batch.clone(),
            case: self.case.clone(),
            stem: self.stem.clone(),
        }
    }

    fn of_parts(parts: &[&str]) -> Result<Option<Self>, IdError> {
        let [batch, date, case, file] = parts else {
            return Ok(None);
        };
        let Some(stem) = named(file, ".csv") else {
            return Ok(None);
        };
        Ok(Some(Self {
            batch: BatchId::parse(batch)?,
            date: PointsDate::parse(date)?,
            case: CaseId::parse(case)?,
            stem: Stem::parse(stem)?,
        }))
    }
}

/// What an image and its CSVs have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StemKey {
    pub batch: BatchId,
    pub case: CaseId,
    pub stem: Stem,
}

/// The kinds of jobs; the text form stands in unit keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Data,
    Train,
    Predict,
    Segment,
    Index,
}

impl JobKind {
    pub const ALL: [Self; 5] = [
        Self::Data,
        Self::Train,
        Self::Predict,
        Self::Segment,
        Self::Index,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Train => "train",
            Self::Predict => "predict",
            Self::Segment => "segment",
            Self::Index => "index",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// Things that are counted (DESIGN 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberKind {
    Datasets,
    Projects,
    Models,
    Requests,
    Users,
}

impl NumberKind {
    pub const ALL: [Self; 5] = [
        Self::Datasets,
        Self::Projects,
        Self::Models,
        Self::Requests,
        Self::Users,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Datasets => "datasets",
            Self::Projects => "projects",
            Self::Models => "models",
            Self::Requests => "requests",
            Self::Users => "users",
        }
    }

    /// The first number given. Models 1 to 99 are those that Cellmill ships.
    pub const fn first(self) -> u64 {
        match self {
            Self::Models => 100,
            _ => 1,
        }
    }
}

/// A file of `datasets/<dir>/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DatasetFile {
    /// The legacy description, before and after cropping.
    Info,
    /// The legacy description with all paths.
    Info2,
    FileList,
    /// The cells; part 0 is `cellslist.csv`, part n `cellslist-<n>.csv` (more than 1,000,000 rows).
    CellsList {
        part: u32,
    },
    Log,
    /// The job record.
    Job,
    Snapshot,
    /// The frozen input of one unit.
    Input {
        unit: u32,
    },
    Pack(PackName),
    /// The list of committed packs.
    Packs,
}

/// `<nnnnn>-<sha256, 16 hex>.zip`: a pack is named by its unit and its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackName {
    pub unit: u32,
    pub sha16: String,
}

impl PackName {
    /// Names the pack of `unit` by the sha256 of its bytes, 64 hex digits.
    pub fn of_content(unit: u32, sha256: &str) -> Self {
        Self {
            unit,
            sha16: sha256.chars().take(16).collect(),
        }
    }

    fn parse(file: &str) -> Option<Self> {
        let (unit, sha16) = file.strip_suffix(".zip")?.split_once('-')?;
        let is_hash = sha16.len() == 16 && is_hex(sha16);
        is_hash.then_some(Self {
            unit: padded(unit, 5)?,
            sha16: sha16.to_owned(),
        })
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}-{}.zip", self.unit, self.sha16)
    }
}

/// Where the copies of a project's cells lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProjectFolder {
    Train,
    Test,
    Predict,
}

impl ProjectFolder {
    pub const ALL: [Self; 3] = [Self::Train, Self::Test, Self::Predict];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Predict => "predict",
        }
    }
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Detector,
    Classifier,
    Segmenter,
}

impl ModelKind {
    pub const ALL: [Self; 3] = [Self::Detector, Self::Classifier, Self::Segmenter];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detector => "detector",
            Self::Classifier => "classifier",
            Self::Segmenter => "segmenter",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// A model of the registry: `<kind>/<file>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey {
    pub kind: ModelKind,
    /// `100.safetensors` for models of ours; legacy ones have any name.
    pub file: String,
}

impl ModelKey {
    /// The model of this number.
    pub fn of_number(kind: ModelKind, mid: u64) -> Self {
        Self {
            kind,
            file: format!("{mid}.safetensors"),
        }
    }

    /// Where a model of this number may be: numbers are counted for all kinds together.
    pub fn all_of_number(mid: u64) -> [Self; 3] {
        ModelKind::ALL.map(|kind| Self::of_number(kind, mid))
    }

    /// `<kind>/<file>`, as people and old files name a model below its folder; with the folder before it too.
    ///
    /// ```
    /// use cellmill_core::keys::ModelKey;
    /// let key = ModelKey::parse_name("detector/deepretina_final.h5").unwrap();
    /// assert_eq!(key.name(), "detector/deepretina_final.h5");
    /// assert_eq!(ModelKey::parse_name("detector/../x.h5"), None);
    /// ```
    pub fn parse_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("modules/").unwrap_or(name);
        match ObjectKey::parse(&format!("modules/{name}")) {
            Ok(Some(ObjectKey::Model(key))) => Some(key),
            _ => None,
        }
    }

    /// `<kind>/<file>`: the key without its folder.
    pub fn name(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.file)
    }
}

/// A file of weights, named by its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightsKey {
    sha256: String,
    ending: &'static str,
}

impl WeightsKey {
    /// The endings that files of weights have: what is in one is told by its bytes, the ending is for people.
    pub const ENDINGS: [&str; 5] = ["safetensors", "pt", "pth", "bin", "h5"];

    /// The weights of this hash (64 hex digits in lower case); `None` for another hash or ending.
    pub fn new(sha256: &str, ending: &str) -> Option<Self> {
        let ending = Self::ENDINGS.into_iter().find(|it| *it == ending)?;
        let is_hash = sha256.len() == 64 && is_hex(sha256);
        is_hash.then(|| Self {
            sha256: sha256.to_owned(),
            ending,
        })
    }

    /// `<sha256>.<ending>`, as [`name`](Self::name) prints it.
    pub fn parse_name(name: &str) -> Option<Self> {
        let (sha256, ending) = name.split_once('.')?;
        Self::new(sha256, ending)
    }

    /// Lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// `<sha256>.<ending>`: the key without its folder.
    pub fn name(&self) -> String {
        format!("{}.{}", self.sha256, self.ending)
    }
}

/// A file of `projects/<dir>/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProjectFile {
    Info,
    Lists,
    /// The result of a training.
    Model,
    /// The result of a prediction; part 0 is `predict2.json`, part n `predict2-<n>.json` (more than 1,000,000 cells).
    Predict2 {
        part: u32,
    },
    /// `train_labels.csv`, `test_labels.csv`, `predict_labels.csv`.
    Labels(ProjectFolder),
    Log,
    /// `train.json`, `predict.json`, `segment.json`.
    Job(JobKind),
    /// A cell under `train/<class>/`, `test/<class>/` or `predict/<class>/`.
    Cell {
        folder: ProjectFolder,
        class: u32,
        name: String,
    },
    /// A frozen piece of the input.
    Input {
        piece: u32,
    },
    /// `split.csv`: which cell was used for what, and what was said of it.
    Split,
    /// `curves.png`: loss and accuracy by epoch.
    Curves,
    /// `confusion.png`: the confusion matrix of the test part.
    Confusion,
    /// `detections.json`: what a trained detector found in the images that judge it.
    Detections,
    /// `trace.json`: events of a training's steps, for a viewer of traces.
    Trace,
    /// The reviewed cells of one case.
    Review {
        batch: BatchId,
        case: CaseId,
    },
}

/// A unit of a job: `units/<dir>/<kind>-<nnnnn>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    pub dir: Dir,
    pub kind: JobKind,
    pub unit: u32,
}

impl UnitKey {
    pub(super) fn folder(&self) -> String {
        format!("units/{}/{}-{:05}", self.dir, self.kind.as_str(), self.unit)
    }

    fn parse_name(dir: &str, name: &str) -> Result<Option<Self>, IdError> {
        let parsed = name
            .split_once('-')
            .and_then(|(kind, unit)| Some((JobKind::parse(kind)?, padded(unit, 5)?)));
        let Some((kind, unit)) = parsed else {
            return Ok(None);
        };
        Ok(Some(Self {
            dir: Dir::parse(dir)?,
            kind,
            unit,
        }))
    }
}

impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder())
    }
}

impl ObjectKey {
    /// The record of a job: its parameters, state and result.
    ///
    /// A job has one directory: of `datasets/`, `projects/` or `indexes/`, by its kind.
    pub fn job(kind: JobKind, dir: &Dir) -> Self {
        match kind {
            JobKind::Data => Self::Dataset(dir.clone(), DatasetFile::Job),
            JobKind::Index => Self::Index(dir.clone()),
            JobKind::Train | JobKind::Predict | JobKind::Segment => {
                Self::Project(dir.clone(), ProjectFile::Job(kind))
            }
        }
    }

    pub fn to_path(&self) -> String {
        match self {
            Self::Image(key) => key.to_path(),
            Self::Points(key) => key.to_path(),
            Self::Cell { batch, case, name } => format!("scratch/{batch}/{case}/cells/{name}"),
            Self::ImageRecord(key) => format!("records/{}.json", key.to_path()),
            Self::PointsRecord(key) => format!("records/{}.json", key.to_path()),
            Self::StemRecord(it) => {
                format!("records/stems/{}/{}/{}.json", it.batch, it.case, it.stem)
            }
            Self::Label(key) => format!("labels/{}.label", key.to_path()),
            Self::LabelType(name) => format!("labels/types/{name}.json"),
            Self::ClassTable(name) => format!("classes/{name}.json"),
            Self::Dataset(dir, file) => format!("datasets/{dir}/{}", file.to_name()),
            Self::Project(dir, file) => format!("projects/{dir}/{}", file.to_name()),
            Self::Index(dir) => format!("indexes/{dir}/index.json"),
            Self::Unit(unit) => format!("{}.json", unit.folder()),
            Self::UnitOutput {
                unit,
                attempt,
                file,
            } => format!("{}/{attempt:05}/{file}", unit.folder()),
            Self::Active { kind, dir, round } => {
                format!("active/{}-{dir}-{round:05}", kind.as_str())
            }
            Self::Number(kind, number) => format!("ids/{}/{number:012}.json", kind.as_str()),
            Self::Model(key) => format!("modules/{}", key.name()),
            Self::ModelCard(key) => format!("modules/{}.json", key.name()),
            Self::Weights(key) => format!("modules/weights/{}", key.name()),
            Self::Cache(hash) => format!("cache/{hash}"),
            Self::Upload(id) => format!("uploads/{id}.json"),
            Self::UploadPart {
                upload,
                number,
                sha256,
            } => format!("uploads/{upload}/{number:05}-{sha256}"),
            Self::Worker(id) => format!("workers/{id}.json"),
            Self::Erasure(batch, case) => format!("erased/{batch}/{case}.json"),
            Self::Audit {
                year,
                month,
                day,
                id,
            } => format!("audit/{year:04}/{month:02}/{day:02}/{id}.json"),
        }
    }

    /// `Ok(None)`: not one of ours. `Err`: ours, but malformed; the error holds the whole key.
    pub fn parse(path: &str) -> Result<Option<Self>, KeyError> {
        Self::parse_parts(path).map_err(|source| KeyError {
            key: path.to_owned(),
            source: Some(source),
        })
    }

    fn parse_parts(path: &str) -> Result<Option<Self>, IdError> {
        let parts: Vec<&str> = path.split('/').collect();
        Ok(match parts.as_slice() {
            ["img" | "csv", ..] | ["scratch", "img", ..] => Self::parse_source(&parts)?,
            ["scratch", batch, case, "cells", name] if is_file(name) => Some(Self::Cell {
                batch: BatchId::parse(batch)?,
                case: CaseId::parse(case)?,
                name: (*name).to_owned(),
            }),
            ["records", "stems", batch, case, file] => match file.strip_suffix(".json") {
                Some(stem) => Some(Self::StemRecord(StemKey {
                    batch: BatchId::parse(batch)?,
                    case: CaseId::parse(case)?,
                    stem: Stem::parse(stem)?,
                })),
                None => None,
            },
            ["records", ..] => match parse_wrapped(path, "records/", ".json")? {
                Some(Self::Image(key)) => Some(Self::ImageRecord(key)),
                Some(Self::Points(key)) => Some(Self::PointsRecord(key)),
                _ => None,
            },
            ["labels", "types", file] => named(file, ".json")
                .map(TableName::parse)
                .transpose()?
                .map(Self::LabelType),
            ["labels", ..] => match parse_wrapped(path, "labels/", ".label")? {
                Some(Self::Image(key)) => Some(Self::Label(key)),
                _ => None,
            },
            ["classes", file] => named(file, ".json")
                .map(TableName::parse)
                .transpose()?
                .map(Self::ClassTable),
            ["datasets", dir, rest @ ..] => match DatasetFile::parse(rest) {
                Some(file) => Some(Self::Dataset(Dir::parse(dir)?, file)),
                None => None,
            },
            ["projects", dir, rest @ ..] => match ProjectFile::parse(rest)? {
                Some(file) => Some(Self::Project(Dir::parse(dir)?, file)),
                None => None,
            },
            ["indexes", dir, "index.json"] => Some(Self::Index(Dir::parse(dir)?)),
            ["units", dir, file] => match named(file, ".json") {
                Some(name) => UnitKey::parse_name(dir, name)?.map(Self::Unit),
                None => None,
            },
            ["units", dir, unit, attempt, file] if is_file(file) => {
                match (UnitKey::parse_name(dir, unit)?, padded(attempt, 5)) {
                    (Some(unit), Some(attempt)) => Some(Self::UnitOutput {
                        unit,
                        attempt,
                        file: (*file).to_owned(),
                    }),
                    _ => None,
                }
            }
            ["active", name] => parse_active(name)?,
            ["ids", kind, file] => parse_number(kind, file),
            ["modules", "weights", file] => WeightsKey::parse_name(file).map(Self::Weights),
            ["modules", kind, file] if is_file(file) => {
                ModelKind::parse(kind).map(|kind| match file.strip_suffix(".json") {
                    Some(model) if is_file(model) => Self::ModelCard(ModelKey {
                        kind,
                        file: model.to_owned(),
                    }),
                    _ => Self::Model(ModelKey {
                        kind,
                        file: (*file).to_owned(),
                    }),
                })
            }
            ["cache", hash] if hash.len() == 64 && is_hex(hash) => {
                Some(Self::Cache((*hash).to_owned()))
            }
            ["uploads", file] => named(file, ".json")
                .map(UlidText::parse)
                .transpose()?
                .map(Self::Upload),
            ["uploads", upload, part] => match part.split_once('-') {
                Some((number, sha256)) if sha256.len() == 64 && is_hex(sha256) => {
                    let upload = UlidText::parse(upload)?;
                    padded(number, 5).map(|number| Self::UploadPart {
                        upload,
                        number,
                        sha256: sha256.to_owned(),
                    })
                }
                _ => None,
            },
            ["workers", file] => named(file, ".json")
                .map(WorkerId::parse)
                .transpose()?
                .map(Self::Worker),
            ["erased", batch, file] => match named(file, ".json") {
                Some(case) => Some(Self::Erasure(BatchId::parse(batch)?, CaseId::parse(case)?)),
                None => None,
            },
            ["audit", year, month, day, file] => parse_audit(year, month, day, file)?,
            _ => None,
        })
    }

    /// The keys that trigger functions: images and points.
    fn parse_source(parts: &[&str]) -> Result<Option<Self>, IdError> {
        Ok(match parts {
            ["img", rest @ ..] => ImageKey::of_parts(ImageRoot::Hospital, rest)?.map(Self::Image),
            ["scratch", "img", rest @ ..] => {
                ImageKey::of_parts(ImageRoot::Upload, rest)?.map(Self::Image)
            }
            ["csv", rest @ ..] => CsvKey::of_parts(rest)?.map(Self::Points),
            _ => None,
        })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_path())
    }
}

impl DatasetFile {
    fn to_name(&self) -> String {
        match self {
            Self::Info => "info.json".to_owned(),
            Self::Info2 => "info2.json".to_owned(),
            Self::FileList => "filelist.csv".to_owned(),
            Self::CellsList { part: 0 } => "cellslist.csv".to_owned(),
            Self::CellsList { part } => format!("cellslist-{part:05}.csv"),
            Self::Log => "log.txt".to_owned(),
            Self::Job => "data.json".to_owned(),
            Self::Snapshot => "snapshot.json".to_owned(),
            Self::Input { unit } => format!("inputs/{unit:05}.json"),
            Self::Pack(name) => format!("packs/{name}"),
            Self::Packs => "packs.json".to_owned(),
        }
    }

    fn parse(parts: &[&str]) -> Option<Self> {
        match parts {
            ["info.json"] => Some(Self::Info),
            ["info2.json"] => Some(Self::Info2),
            ["filelist.csv"] => Some(Self::FileList),
            ["cellslist.csv"] => Some(Self::CellsList { part: 0 }),
            ["log.txt"] => Some(Self::Log),
            ["data.json"] => Some(Self::Job),
            ["snapshot.json"] => Some(Self::Snapshot),
            ["packs.json"] => Some(Self::Packs),
            ["inputs", file] => Some(Self::Input {
                unit: padded(named(file, ".json")?, 5)?,
            }),
            ["packs", file] => PackName::parse(file).map(Self::Pack),
            [file] => {
                let part = padded(file.strip_prefix("cellslist-")?.strip_suffix(".csv")?, 5)?;
                (part > 0).then_some(Self::CellsList { part })
            }
            _ => None,
        }
    }
}

impl ProjectFile {
    fn to_name(&self) -> String {
        match self {
            Self::Info => "info.json".to_owned(),
            Self::Lists => "lists.json".to_owned(),
            Self::Model => "mod.json".to_owned(),
            Self::Predict2 { part: 0 } => "predict2.json".to_owned(),
            Self::Predict2 { part } => format!("predict2-{part:05}.json"),
            Self::Labels(folder) => format!("{}_labels.csv", folder.as_str()),
            Self::Log => "log.txt".to_owned(),
            Self::Job(kind) => format!("{}.json", kind.as_str()),
            Self::Cell {
                folder,
                class,
                name,
            } => format!("{}/{class}/{name}", folder.as_str()),
            Self::Input { piece } => format!("inputs/{piece:05}.json"),
            Self::Split => "split.csv".to_owned(),
            Self::Curves => "curves.png".to_owned(),
            Self::Detections => "detections.json".to_owned(),
            Self::Confusion => "confusion.png".to_owned(),
            Self::Trace => "trace.json".to_owned(),
            Self::Review { batch, case } => format!("review/{batch}/{case}.json"),
        }
    }

    fn parse(parts: &[&str]) -> Result<Option<Self>, IdError> {
        let folder = |text: &str| {
            ProjectFolder::ALL
                .into_iter()
                .find(|it| it.as_str() == text)
        };
        Ok(match parts {
            ["info.json"] => Some(Self::Info),
            ["lists.json"] => Some(Self::Lists),
            ["mod.json"] => Some(Self::Model),
            ["predict2.json"] => Some(Self::Predict2 { part: 0 }),
            ["log.txt"] => Some(Self::Log),
            ["split.csv"] => Some(Self::Split),
            ["curves.png"] => Some(Self::Curves),
            ["detections.json"] => Some(Self::Detections),
            ["confusion.png"] => Some(Self::Confusion),
            ["trace.json"] => Some(Self::Trace),
            ["inputs", file] => named(file, ".json")
                .and_then(|it| padded(it, 5))
                .map(|piece| Self::Input { piece }),
            ["train.json"] => Some(Self::Job(JobKind::Train)),
            ["predict.json"] => Some(Self::Job(JobKind::Predict)),
            ["segment.json"] => Some(Self::Job(JobKind::Segment)),
            [file] => match file.strip_prefix("predict2-") {
                Some(part) => named(part, ".json")
                    .and_then(|it| padded(it, 5))
                    .filter(|it| *it > 0)
                    .map(|part| Self::Predict2 { part }),
                None => file
                    .strip_suffix("_labels.csv")
                    .and_then(folder)
                    .map(Self::Labels),
            },
            ["review", batch, file] => match named(file, ".json") {
                Some(case) => Some(Self::Review {
                    batch: BatchId::parse(batch)?,
                    case: CaseId::parse(case)?,
                }),
                None => None,
            },
            [parent, class, name] if is_file(name) => match (folder(parent), plain_number(class)) {
                (Some(folder), Some(class)) => Some(Self::Cell {
                    folder,
                    class,
                    name: (*name).to_owned(),
                }),
                _ => None,
            },
            _ => None,
        })
    }
}

fn parse_wrapped(path: &str, prefix: &str, suffix: &str) -> Result<Option<ObjectKey>, IdError> {
    let Some(inner) = path
        .strip_prefix(prefix)
        .and_then(|it| it.strip_suffix(suffix))
    else {
        return Ok(None);
    };
    ObjectKey::parse_source(&inner.split('/').collect::<Vec<_>>())
}

fn parse_active(name: &str) -> Result<Option<ObjectKey>, IdError> {
    let mut parts = name.splitn(3, '-');
    let (Some(kind), Some(dir), Some(round)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(None);
    };
    let (Some(kind), Some(round)) = (JobKind::parse(kind), padded(round, 5)) else {
        return Ok(None);
    };
    Ok(Some(ObjectKey::Active {
        kind,
        dir: Dir::parse(dir)?,
        round,
    }))
}

fn parse_number(kind: &str, file: &str) -> Option<ObjectKey> {
    let kind = NumberKind::ALL.into_iter().find(|it| it.as_str() == kind)?;
    let digits = named(file, ".json")?;
    let number = (digits.len() >= 12 && is_decimal(digits))
        .then(|| digits.parse().ok())
        .flatten()?;
    let key = ObjectKey::Number(kind, number);
    (format!("{number:012}") == digits).then_some(key)
}

fn parse_audit(
    year: &str,
    month: &str,
    day: &str,
    file: &str,
) -> Result<Option<ObjectKey>, IdError> {
    let (Some(year), Some(month), Some(day), Some(id)) = (
        padded(year, 4),
        padded(month, 2),
        padded(day, 2),
        named(file, ".json"),
    ) else {
        return Ok(None);
    };
    if year > 9999 || month > 99 || day > 99 {
        return Ok(None);
    }
    Ok(Some(ObjectKey::Audit {
        year: year as u16,
        month: month as u8,
        day: day as u8,
        id: UlidText::parse(id)?,
    }))
}

fn named<'a>(file: &'a str, suffix: &str) -> Option<&'a str> {
    file.strip_suffix(suffix)
}

/// A last part that can be a file: anything but nothing and the two dots.
fn is_file(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".."
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A number of at least `width` digits, written as we write it.
fn padded(text: &str, width: usize) -> Option<u32> {
    if text.len() < width || !is_decimal(text) {
        return None;
    }
    let number: u32 = text.parse().ok()?;
    (format!("{number:0width$}") == text).then_some(number)
}

fn plain_number(text: &str) -> Option<u32> {
    padded(text, 1)
}

macro_rules! text_key {
    ($name:ident, $variant:path) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_path())
            }
        }
        impl std::str::FromStr for $name {
            type Err = KeyError;
            fn from_str(path: &str) -> Result<Self, KeyError> {
                match ObjectKey::parse(path)? {
                    Some($variant(key)) => Ok(key),
                    _ => Err(KeyError {
                        key: path.to_owned(),
                        source: None,
                    }),
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = KeyError;
            fn try_from(path: String) -> Result<Self, KeyError> {
                path.parse()
            }
        }
        impl From<$name> for String {
            fn from(key: $name) -> Self {
                key.to_path()
            }
        }
    };
}

text_key!(ImageKey, ObjectKey::Image);
text_key!(CsvKey, ObjectKey::Points);
