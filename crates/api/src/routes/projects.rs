//! Projects: a training or a prediction on a data set, and what became of it.

use axum::extract::State;
use cellmill_core::formats::ProjectKeys;
use cellmill_core::ids::{Dir, TableName};
use cellmill_core::job::{JobParameters, JobRecord, JobState};
use cellmill_core::keys::{JobKind, ModelKey, ModelKind, NumberKind, ObjectKey};
use cellmill_core::messages::UnitClass;
use cellmill_core::model::ModelCard;
use cellmill_core::split::SplitRule;
use cellmill_core::training::{
    DetectorSettings, NetworkSettings, PredictParameters, TrainParameters,
};
use cellmill_store::Versioned;
use cellmill_store::accept::made_up_dir;
use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::datasets::{self, NewDataset};
use super::documents::read_or_skip;
use super::job_view::JobView;
use super::jobs::{self, Counted};
use super::project_rules::{self, Source};
use super::{label_types, legacy, models, weights};
use crate::accept::{AcceptError, Submission, accept};
use crate::edge::{Error, ErrorBody, Json, JsonBody, Page, PageQuery, Path, Query};
use crate::parts::App;
use crate::person::Person;

/// What a project can do.
const KINDS: [JobKind; 2] = [JobKind::Train, JobKind::Predict];

/// A training or a prediction that somebody wants.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// `train` or `predict`.
    #[schema(value_type = String)]
    pub kind: JobKind,
    #[serde(default)]
    pub description: String,
    /// Letters and digits; made up when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dir: Option<Dir>,
    /// Directory of the data set; one that is still being made is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dataset: Option<Dir>,
    /// Instead of `dataset`: a data set that is made first, such as one of new images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_dataset: Option<NewDataset>,
    /// The data set's classes. Empty: all of them. A training learns to tell them apart, in this order.
    #[serde(default)]
    pub types: Vec<u32>,
    /// Which workers serve it: `cpu` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub class: Option<UnitClass>,

    /// Training: classes made of several of the data set's, instead of `types`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge: Vec<NewMergedClass>,
    /// Training: side of the network's input in pixels, 16 to 512; 64 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_resize: Option<u32>,
    /// Training: after so many seconds no new epoch begins; 0, as when not given: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_time: Option<u64>,
    /// Training: `{"by": "case"}` (when not given), `image`, `fixed`, `legacy`, or
    /// `{"by": "cases", "test": [..]}` with the cases that judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub split: Option<SplitRule>,
    /// Training: decides initial weights, split, order and augmentation; 1 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Training: the network and how it learns; what is left out has its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub network: Option<NetworkSettings>,
    /// Training: where cells of the classes are is learned, by these settings, in place of `network`; what is left out
    /// has its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub detector: Option<Box<DetectorSettings>>,
    /// Training: the label type whose model is replaced when the new one is not worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub label_type: Option<TableName>,
    /// Training: labels are dealt out at random, as a check that nothing else is learned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shuffle_labels: bool,
    /// Training: the report tells where the time went, and `trace.json` shows single steps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,

    /// Prediction: the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<u64>,
    /// Prediction: 1: the data set's classes are the truth; 0: nobody knows it. When not given: 1, unless the
    /// cells come from a detector alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_type: Option<u8>,
    /// Prediction: answers 50 (negative) and 51 (positive) instead of the model's classes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// Prediction, with `binary`: the threshold keeps this recall of the positive cells, by the model's
    /// validation; above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_recall: Option<f64>,
    /// Prediction: cells whose own box is smaller on a side, in pixels, are class 201.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_side: Option<u32>,
    /// Prediction: a model of two classes, cell and no cell; what it calls no cell is class 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_mid: Option<u64>,
}

impl NewProject {
    /// A project of which only the kind is said.
    pub fn of_kind(kind: JobKind) -> Self {
        Self {
            kind,
            description: String::new(),
            dir: None,
            dataset: None,
            new_dataset: None,
            types: Vec::new(),
            class: None,
            merge: Vec::new(),
            parameter_resize: None,
            parameter_time: None,
            split: None,
            seed: None,
            network: None,
            detector: None,
            label_type: None,
            shuffle_labels: false,
            profile: false,
            mid: None,
            parameter_type: None,
            binary: false,
            target_recall: None,
            min_side: None,
            filter_mid: None,
        }
    }
}

/// A class made of several of the data set's.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMergedClass {
    pub name: String,
    /// Its id. When not given: that of the class of this name (`negative` is 50, `positive` 51), else the first
    /// of `of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u32>,
    /// The data set's classes that it is made of.
    pub of: Vec<u32>,
}

/// A training or a prediction.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectView {
    pub number: u64,
    #[schema(value_type = String)]
    pub dir: Dir,
    /// `train` or `predict`.
    #[schema(value_type = String)]
    pub kind: JobKind,
    pub description: String,
    /// Directory of the data set.
    #[schema(value_type = String)]
    pub dataset: Dir,
    /// Number of the data set.
    pub did: u64,
    /// Of a training: the number that its model gets. Of a prediction: the model.
    pub mid: u64,
    /// The data set's classes that take part; empty: all.
    pub types: Vec<u32>,
    /// Everything that was asked for.
    #[schema(value_type = Object)]
    pub parameters: serde_json::Value,
    pub job: JobView,
}

/// Asks for a training or a prediction. It is accepted when the answer comes, and done afterwards.
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = NewProject,
    responses((status = 201, body = ProjectView), (status = "default", body = ErrorBody)))]
pub(crate) async fn create_project(
    State(app): State<App>,
    person: Person,
    JsonBody(mut new): JsonBody<NewProject>,
) -> Result<(StatusCode, Json<ProjectView>), Error> {
    project_rules::check_values(&new)?;
    if let Some(dir) = &new.dir {
        check_free(&app, dir).await?;
    }
    let source = match (new.dataset.take(), new.new_dataset.take()) {
        (Some(dir), None) => Wanted::Stored(stored_source(&app, &dir).await?),
        (None, Some(dataset)) => Wanted::New(Source::of_new(&dataset)?, Box::new(dataset)),
        _ => {
            return Err(Error::refused(
                "bad_parameter",
                "a project stands on `dataset` or on `new_dataset`, on one of them",
            ));
        }
    };
    let submission = match new.kind {
        JobKind::Train => training(&app, new, source, &person.id).await?,
        _ => prediction(&app, new, source, &person.id).await?,
    };
    let job = accept(&app.store, &*app.queue, submission).await?;
    let job = jobs::read_job(&app, job.kind, &job.dir).await?;
    Ok((StatusCode::CREATED, Json(view(&app, &job).await?)))
}

/// A directory holds one project: a prediction would overwrite what a training there left.
async fn check_free(app: &App, dir: &Dir) -> Result<(), Error> {
    for kind in [JobKind::Train, JobKind::Predict, JobKind::Segment] {
        let key = ObjectKey::job(kind, dir);
        if app.store.head(&key).await?.is_some() {
            let dir = dir.clone();
            return Err(AcceptError::Taken { kind, dir }.into());
        }
    }
    Ok(())
}

/// The data set that a project is to stand on.
enum Wanted {
    Stored(Source),
    /// Accepted only when all else of the project is right.
    New(Source, Box<NewDataset>),
}

impl Wanted {
    const fn source(&self) -> &Source {
        match self {
            Self::Stored(source) | Self::New(source, _) => source,
        }
    }

    /// Directory and number of the data set, which is accepted now if it is new.
    async fn accepted(self, app: &App, by: &str) -> Result<(Dir, u64), Error> {
        match self {
            Self::Stored(Source { dataset, .. }) => {
                dataset.ok_or_else(|| Error::internal("a stored data set has a directory"))
            }
            Self::New(_, new) => {
                let job = datasets::accept_dataset(app, by.to_owned(), *new).await?;
                Ok((job.dir, job.number))
            }
        }
    }
}

async fn stored_source(app: &App, dir: &Dir) -> Result<Source, Error> {
    let key = ObjectKey::job(JobKind::Data, dir);
    let Some(job) = app.store.read::<JobRecord>(&key).await? else {
        return Err(Error::Refused {
            code: "unknown_dataset",
            message: format!("there is no data set `{dir}`"),
            hint: Some("`cellmill dataset ls` lists the data sets that are there"),
        });
    };
    let job = job.value;
    if matches!(job.state, JobState::Failed | JobState::Cancelled) {
        let what = if job.state == JobState::Failed {
            "has failed: retry it first"
        } else {
            "was cancelled: make another one"
        };
        return Err(Error::conflict(
            "dataset_unusable",
            format!("data set `{dir}` {what}"),
        ));
    }
    let counts = match job.state {
        JobState::Done => datasets::read_statistics(app, dir).await?,
        _ => None,
    };
    Ok(Source::of_job(&job, counts))
}

async fn training(
    app: &App,
    new: NewProject,
    wanted: Wanted,
    by: &str,
) -> Result<Submission, Error> {
    if let Some(name) = &new.label_type {
        label_types::check_exists(app, name).await?;
    }
    let class = new.class.clone().unwrap_or_else(UnitClass::cpu);
    if class.is_legacy() {
        legacy::check_served(app)?;
        project_rules::check_legacy_training(&new)?;
    }
    let of_network = new.network.as_ref().and_then(|it| it.weights.as_ref());
    let of_detector = new.detector.as_ref().and_then(|it| it.weights.as_ref());
    if let Some(key) = of_network.or(of_detector) {
        weights::check_stored(app, key).await?;
    }
    let known = super::classes::known_classes(&app.store).await?;
    let chosen = project_rules::chosen_classes(&new, wanted.source(), &known)?;
    let (ddir, did) = wanted.accepted(app, by).await?;
    let dir = new.dir.unwrap_or_else(made_up_dir);
    // The number stands in the parameters, so it is taken first; when the job is not accepted it is a gap.
    let mid = app
        .store
        .take_number(NumberKind::Models, dir.as_str(), &new.description, by)
        .await?;
    let parameters = TrainParameters {
        ddir,
        did,
        mid,
        types: chosen.types,
        merge: chosen.merge,
        resize: new
            .parameter_resize
            .unwrap_or(project_rules::DEFAULT_RESIZE),
        time: new.parameter_time.unwrap_or(0),
        split: new.split.unwrap_or_default(),
        seed: new.seed.unwrap_or(1),
        network: new.network.unwrap_or_default(),
        detector: new.detector,
        propose_for: new.label_type,
        shuffle_labels: new.shuffle_labels,
        profile: new.profile,
    };
    let project = ProjectKeys {
        did,
        ddir: parameters.ddir.to_string(),
        status: 1,
        project_type: 2,
        types: parameters.source_classes(),
        modpath: if class.is_legacy() {
            // Its worker names its file itself.
            String::new()
        } else {
            ObjectKey::Model(parameters.model_key()).to_path()
        },
        parameter_time: parameters.time,
        parameter_resize: parameters.resize,
        parameter_mid: mid,
        parameter_type: 1,
        ..ProjectKeys::default()
    };
    Ok(Submission {
        parameters: JobParameters::Train(parameters),
        description: new.description,
        dir: Some(dir),
        class,
        by: by.to_owned(),
        project: Some(project),
    })
}

async fn prediction(
    app: &App,
    new: NewProject,
    wanted: Wanted,
    by: &str,
) -> Result<Submission, Error> {
    let Some(mid) = new.mid else {
        return Err(Error::refused(
            "bad_parameter",
            "a prediction needs a model: `mid`",
        ));
    };
    let card = models::usable(app, mid).await?;
    let class = prediction_class(app, &new, &card)?;
    if let Some(filter) = new.filter_mid {
        let filter = models::usable(app, filter).await?;
        models::check_own(&filter)?;
        project_rules::check_filter(&filter)?;
    }
    if new.binary {
        let known = super::classes::known_classes(&app.store).await?;
        project_rules::check_binary(&card, &known, new.target_recall.is_some())?;
    }
    let source = wanted.source();
    project_rules::check_types(&new.types, source)?;
    let is_labelled = match new.parameter_type {
        Some(number) => number == 1,
        None => source.is_labelled,
    };
    let (ddir, did) = wanted.accepted(app, by).await?;
    let parameters = PredictParameters {
        ddir,
        did,
        mid,
        types: datasets::without_repeats(&new.types),
        is_labelled,
        binary: new.binary,
        target_recall: new.target_recall,
        min_side: new.min_side,
        filter_mid: new.filter_mid,
    };
    let project = ProjectKeys {
        did,
        ddir: parameters.ddir.to_string(),
        status: 1,
        project_type: 3,
        types: parameters.types.clone(),
        modpath: modpath(app, &card),
        parameter_resize: card.input.side,
        parameter_mid: mid,
        parameter_type: u32::from(is_labelled),
        crop_cells: Some(Vec::new()),
        ..ProjectKeys::default()
    };
    Ok(Submission {
        parameters: JobParameters::Predict(parameters),
        description: new.description,
        dir: new.dir,
        class,
        by: by.to_owned(),
        project: Some(project),
    })
}

/// Who predicts: those that the request names, else those that can run the model; a model of the predecessor's only
/// its workers.
fn prediction_class(app: &App, new: &NewProject, card: &ModelCard) -> Result<UnitClass, Error> {
    if card.mtype.is_none() {
        let class = new.class.clone().unwrap_or_else(|| class_of(card));
        if class.is_legacy() {
            let message = format!(
                "model {} is Cellmill's own, the predecessor's workers can't open it",
                card.mid
            );
            return Err(Error::refused("bad_parameter", message));
        }
        return Ok(class);
    }
    legacy::check_served(app)?;
    project_rules::check_legacy_prediction(new)?;
    Ok(UnitClass::legacy())
}

/// Where readers of `info.json` find the model. The predecessor's workers open it as it stands: absolute.
fn modpath(app: &App, card: &ModelCard) -> String {
    match (card.mtype, app.store.root()) {
        (Some(_), Some(root)) => root.join(&card.file).display().to_string(),
        _ => ObjectKey::Model(ModelKey::of_number(ModelKind::Classifier, card.mid)).to_path(),
    }
}

/// The workers that can run a model, by its card.
fn class_of(card: &ModelCard) -> UnitClass {
    UnitClass::parse(&card.unit_class).unwrap_or_else(|_| UnitClass::cpu())
}

/// Trainings and predictions, the newest first.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", params(PageQuery),
    responses((status = 200, body = Page<ProjectView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_projects(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ProjectView>>, Error> {
    let limit = page.limit()?;
    let after: Option<u64> = page.after(|it| it.parse().ok())?;
    let numbers = jobs::numbers(&app.store, NumberKind::Projects).await?;
    let counted = numbers
        .into_iter()
        .filter(|number| after.is_none_or(|after| *number < after))
        .flat_map(|number| KINDS.map(|kind| Counted::new(kind, number)));
    let items: Vec<ProjectView> = jobs::counted_jobs(&app.store, counted.collect())
        .and_then(|job| {
            let app = &app;
            async move { view(app, &job).await }
        })
        .take(limit + 1)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.number.to_string())))
}

/// One training or prediction.
#[utoipa::path(get, path = "/api/v1/projects/{dir}", tag = "projects",
    params(("dir" = String, Path)),
    responses((status = 200, body = ProjectView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_project(
    State(app): State<App>,
    Path(dir): Path<Dir>,
) -> Result<Json<ProjectView>, Error> {
    let job = read_project(&app, &dir).await?;
    view(&app, &job).await.map(Json)
}

/// The job of a project, whatever its kind.
pub(super) async fn read_project(app: &App, dir: &Dir) -> Result<Versioned<JobRecord>, Error> {
    for kind in KINDS {
        let key = ObjectKey::job(kind, dir);
        if let Some(job) = read_or_skip::<JobRecord>(&app.store, &key).await? {
            return Ok(job);
        }
    }
    Err(Error::not_found(format!("project `{dir}`")))
}

async fn view(app: &App, job: &Versioned<JobRecord>) -> Result<ProjectView, Error> {
    let record = &job.value;
    let (dataset, did, mid, types, parameters) = match &record.parameters {
        JobParameters::Train(it) => (
            &it.ddir,
            it.did,
            it.mid,
            it.source_classes(),
            serde_json::to_value(it),
        ),
        JobParameters::Predict(it) => (
            &it.ddir,
            it.did,
            it.mid,
            it.types.clone(),
            serde_json::to_value(it),
        ),
        JobParameters::Data(_) => {
            return Err(Error::internal(
                "a project has the parameters of a data set",
            ));
        }
    };
    Ok(ProjectView {
        number: record.number,
        dir: record.dir.clone(),
        kind: record.kind,
        description: record.description.clone(),
        dataset: dataset.clone(),
        did,
        mid,
        types,
        parameters: parameters.map_err(Error::internal)?,
        job: jobs::view(app, job).await?,
    })
}
