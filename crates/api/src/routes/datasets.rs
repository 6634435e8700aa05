//! Data sets: asking for one, and what became of it.

use axum::extract::State;
use cellmill_core::ids::{BatchId, CaseId, Dir, TableName};
use cellmill_core::job::{DataParameters, DataType, JobParameters, JobRecord, JobState};
use cellmill_core::keys::{DatasetFile, JobKind, NumberKind, ObjectKey};
use cellmill_core::messages::UnitClass;
use cellmill_store::Versioned;
use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job_view::JobView;
use super::jobs::{self, Counted};
use super::{batches, classes, label_types, legacy, models};
use crate::accept::{AcceptError, Submission, accept};
use crate::edge::{Error, ErrorBody, Json, JsonBody, Page, PageQuery, Path, Query};
use crate::parts::App;
use crate::person::Person;

/// The smallest crop that shows a cell at all.
const MIN_SIZE: u32 = 8;
/// The largest crop: a cell is far smaller, and 100 of them must fit in memory.
const MAX_SIZE: u32 = 2048;
const MAX_DESCRIPTION_CHARS: usize = 2000;

/// What a data set is to be made of, and how.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDataset {
    #[serde(default)]
    pub description: String,
    /// Letters and digits; made up when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dir: Option<Dir>,
    /// May be empty with `label_type`: all batches that have images now.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub batches: Vec<BatchId>,
    /// Empty: all cases of the batches.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub cases: Vec<CaseId>,
    /// 1: detector and classifier see grey.
    #[serde(default = "one")]
    pub parameter_gray: u8,
    /// Side of a crop in pixels.
    #[serde(default = "default_size")]
    pub parameter_size: u32,
    /// 0: every detection; 1: every point of a CSV; 2: detections that a point confirms; 3: whole images with
    /// the class that their label gives them, each shrunk to a square of `parameter_size`.
    #[serde(default = "one")]
    pub parameter_type: u8,
    /// The detector; 0 is the classical finder.
    #[serde(default)]
    pub parameter_mid: u64,
    /// With a detector: boxes that are less sure are left out, 0 to 1; its own threshold when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// Of two detections whose centres are no further apart, the surer one counts, in pixels; 10 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_distance: Option<u32>,
    /// 1: loose PNGs are written too, and those that are there are used.
    #[serde(default = "one")]
    pub parameter_cache: u8,
    /// Type 2: how far a point may be from a detection's centre, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_radius: Option<u32>,
    /// Type 2: match by overlap instead, at least this intersection over union.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_iou: Option<f64>,
    /// Only images with a label of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub label_type: Option<TableName>,
}

impl Default for NewDataset {
    /// As a request that names nothing.
    fn default() -> Self {
        Self {
            description: String::new(),
            dir: None,
            batches: Vec::new(),
            cases: Vec::new(),
            parameter_gray: one(),
            parameter_size: default_size(),
            parameter_type: one(),
            parameter_mid: 0,
            min_score: None,
            min_distance: None,
            parameter_cache: one(),
            match_radius: None,
            match_iou: None,
            label_type: None,
        }
    }
}

const fn one() -> u8 {
    1
}

const fn default_size() -> u32 {
    cellmill_core::boxes::DEFAULT_CROP_SIZE
}

/// A data set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DatasetView {
    pub number: u64,
    #[schema(value_type = String)]
    pub dir: Dir,
    pub description: String,
    pub job: JobView,
    /// Counts, once it is done.
    pub statistics: Option<Statistics>,
    /// The hash of its frozen input.
    pub snapshot: Option<String>,
}

/// The counts of `info.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Statistics {
    pub origin_total: u64,
    pub cells_total: u64,
    pub batchcnt: u64,
    pub medicalcnt: u64,
    pub fovcnt: u64,
    pub fovncnt: u64,
    pub fovpcnt: u64,
    pub labelncnt: u64,
    pub labelpcnt: u64,
    pub labelcnt: u64,
    /// Cells of each class, ascending. Absent in files of a predecessor that found none.
    pub types: Option<Vec<TypeCount>>,
}

/// How many cells a class has.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TypeCount {
    pub celltype: u32,
    pub labelcnt: u64,
    /// The class's name, where a class table has one.
    #[serde(default)]
    pub name: Option<String>,
}

/// Asks for a data set. It is accepted when the answer comes, and made afterwards.
#[utoipa::path(post, path = "/api/v1/datasets", tag = "data sets", request_body = NewDataset,
    responses((status = 201, body = DatasetView), (status = "default", body = ErrorBody)))]
pub(crate) async fn create_dataset(
    State(app): State<App>,
    person: Person,
    JsonBody(new): JsonBody<NewDataset>,
) -> Result<(StatusCode, Json<DatasetView>), Error> {
    let job = accept_dataset(&app, person.id, new).await?;
    let job = jobs::read_job(&app, JobKind::Data, &job.dir).await?;
    Ok((StatusCode::CREATED, Json(view(&app, &job).await?)))
}

/// Checks and accepts a data set.
pub(super) async fn accept_dataset(
    app: &App,
    by: String,
    new: NewDataset,
) -> Result<JobRecord, Error> {
    let mut parameters = new.checked()?;
    if parameters.batches.is_empty() {
        // Those that are there now: the data set says by name what it is made of.
        parameters.batches = batches::all(&app.store).await?.into_keys().collect();
    }
    check_source(app, &parameters).await?;
    let class = class_of(app, &parameters).await?;
    let submission = Submission {
        parameters: JobParameters::Data(parameters),
        description: new.description,
        dir: new.dir,
        class,
        by,
        project: None,
    };
    Ok(accept(&app.store, &*app.queue, submission).await?)
}

/// Who cuts the cells: the predecessor's workers, when the detector is one of theirs.
async fn class_of(app: &App, parameters: &DataParameters) -> Result<UnitClass, Error> {
    let card = match parameters.mid {
        0 => None,
        mid => app.store.read_model_card(mid).await?,
    };
    if card.is_none_or(|it| it.value.mtype.is_none()) {
        return Ok(UnitClass::cpu());
    }
    legacy::check_served(app)?;
    if parameters.data_type == DataType::WholeImage || parameters.match_iou.is_some() {
        let message = "the predecessor's workers know `parameter_type` 0 to 2 and no `match_iou`";
        return Err(Error::refused("bad_parameter", message));
    }
    Ok(UnitClass::legacy())
}

impl From<AcceptError> for Error {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Taken { .. } => Self::conflict("taken", error.to_string()),
            AcceptError::Store(error) => error.into(),
        }
    }
}

impl NewDataset {
    /// The parameters, when each is within its limits.
    pub(super) fn checked(&self) -> Result<DataParameters, Error> {
        let bad = |message: String| Err(Error::refused("bad_parameter", message));
        if let Some(problem) = long_description(&self.description) {
            return bad(problem);
        }
        if self.batches.is_empty() && (self.label_type.is_none() || !self.cases.is_empty()) {
            return bad("`batches` names no batch".to_owned());
        }
        if !(MIN_SIZE..=MAX_SIZE).contains(&self.parameter_size) {
            return bad(format!(
                "`parameter_size` is {}, a crop has {MIN_SIZE} to {MAX_SIZE} pixels a side",
                self.parameter_size
            ));
        }
        let data_type = match DataType::try_from(self.parameter_type) {
            Ok(data_type) => data_type,
            Err(message) => return bad(message),
        };
        let defaults = DataParameters::default();
        let match_radius = self.match_radius.unwrap_or(defaults.match_radius);
        if match_radius == 0 || match_radius > MAX_SIZE {
            return bad(format!(
                "`match_radius` is {match_radius}, it goes from 1 to {MAX_SIZE} pixels"
            ));
        }
        if let Some(iou) = self.match_iou
            && !(iou > 0.0 && iou <= 1.0)
        {
            return bad(format!("`match_iou` is {iou}, it is above 0 and at most 1"));
        }
        if let Some(score) = self.min_score
            && !(0.0..=1.0).contains(&score)
        {
            return bad(format!("`min_score` is {score}, it goes from 0 to 1"));
        }
        if self.min_score.is_some() && self.parameter_mid == 0 {
            return bad(
                "`min_score` goes with a detector, and `parameter_mid` 0 is the classical finder"
                    .to_owned(),
            );
        }
        if let Some(distance) = self.min_distance.filter(|it| *it > MAX_SIZE) {
            return bad(format!(
                "`min_distance` is {distance}, it goes from 0 to {MAX_SIZE} pixels"
            ));
        }
        Ok(DataParameters {
            min_score: self.min_score,
            min_distance: self.min_distance,
            gray: flag("parameter_gray", self.parameter_gray)?,
            size: self.parameter_size,
            data_type,
            mid: self.parameter_mid,
            cache: flag("parameter_cache", self.parameter_cache)?,
            match_radius,
            match_iou: self.match_iou,
            batches: without_repeats(&self.batches),
            cases: without_repeats(&self.cases),
            label_type: self.label_type.clone(),
        })
    }
}

/// Says so when a description is longer than one may be.
pub(super) fn long_description(text: &str) -> Option<String> {
    let n_chars = text.chars().count();
    (n_chars > MAX_DESCRIPTION_CHARS).then(|| {
        format!("`description` has {n_chars} characters, the limit is {MAX_DESCRIPTION_CHARS}")
    })
}

fn flag(name: &str, value: u8) -> Result<bool, Error> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::refused(
            "bad_parameter",
            format!("`{name}` is {value}, it is 0 or 1"),
        )),
    }
}

/// In the order given: it is the order of the documents.
pub(super) fn without_repeats<T: Clone + PartialEq>(items: &[T]) -> Vec<T> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    kept
}

/// Do the batches, the cases, the label type and the model exist?
async fn check_source(app: &App, parameters: &DataParameters) -> Result<(), Error> {
    if let Some(name) = &parameters.label_type {
        label_types::check_exists(app, name).await?;
    }
    if parameters.batches.is_empty() {
        return Err(Error::refused("unknown_batch", "no batch has images"));
    }
    let mut known = Vec::new();
    for batch in &parameters.batches {
        let cases = batches::cases(&app.store, batch).await?;
        if cases.is_empty() {
            let message = format!("batch `{batch}` has no images");
            return Err(Error::refused("unknown_batch", message));
        }
        known.extend(cases.into_keys());
    }
    if let Some(case) = parameters.cases.iter().find(|it| !known.contains(it)) {
        return Err(Error::Refused {
            code: "unknown_case",
            message: format!("case `{case}` is in none of the batches"),
            hint: Some("`cellmill images --batch <batch>` shows images with their cases"),
        });
    }
    if parameters.mid != 0 {
        models::usable_detector(app, parameters.mid).await?;
    }
    Ok(())
}

/// Data sets, the newest first.
#[utoipa::path(get, path = "/api/v1/datasets", tag = "data sets", params(PageQuery),
    responses((status = 200, body = Page<DatasetView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_datasets(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<DatasetView>>, Error> {
    let limit = page.limit()?;
    let after: Option<u64> = page.after(|it| it.parse().ok())?;
    let numbers = jobs::numbers(&app.store, NumberKind::Datasets).await?;
    let behind = |number: &u64| after.is_none_or(|after| *number < after);
    let counted = numbers
        .into_iter()
        .filter(behind)
        .map(|number| Counted::new(JobKind::Data, number));
    let items: Vec<DatasetView> = jobs::counted_jobs(&app.store, counted.collect())
        .and_then(|job| {
            let app = &app;
            async move { view(app, &job).await }
        })
        .take(limit + 1)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.number.to_string())))
}

/// One data set.
#[utoipa::path(get, path = "/api/v1/datasets/{dir}", tag = "data sets",
    params(("dir" = String, Path)),
    responses((status = 200, body = DatasetView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_dataset(
    State(app): State<App>,
    Path(dir): Path<Dir>,
) -> Result<Json<DatasetView>, Error> {
    let job = jobs::read_job(&app, JobKind::Data, &dir).await?;
    view(&app, &job).await.map(Json)
}

async fn view(app: &App, job: &Versioned<JobRecord>) -> Result<DatasetView, Error> {
    let record = &job.value;
    let statistics = match record.state {
        JobState::Done => read_statistics(app, &record.dir).await?,
        _ => None,
    };
    Ok(DatasetView {
        number: record.number,
        dir: record.dir.clone(),
        description: record.description.clone(),
        job: jobs::view(app, job).await?,
        statistics,
        snapshot: record.snapshot.clone(),
    })
}

/// The counts of a finished data set. A file that can't be understood is logged and shows none: it must not
/// hide the other data sets of a list.
pub(super) async fn read_statistics(app: &App, dir: &Dir) -> Result<Option<Statistics>, Error> {
    let key = ObjectKey::Dataset(dir.clone(), DatasetFile::Info);
    let stored = match app.store.read_json::<Statistics>(&key).await {
        Err(error @ cellmill_store::Error::Malformed { .. }) => {
            tracing::error!("{}", cellmill_service::report(&error));
            return Ok(None);
        }
        read => read?,
    };
    let Some(stored) = stored else {
        return Ok(None);
    };
    let known = classes::known_classes(&app.store).await?;
    let mut statistics = stored.value;
    for count in statistics.types.iter_mut().flatten() {
        count.name = known.get(count.celltype).map(|it| it.name.clone());
    }
    Ok(Some(statistics))
}
