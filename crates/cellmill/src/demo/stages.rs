//! The stages of the demo, each timed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cellmill_api::views::{JobView, NewDataset, NewProject, ProjectView};
use cellmill_core::boxes::BBox;
use cellmill_core::formats::CellsListRow;
use cellmill_core::ids::{BatchId, CaseId, Dir};
use cellmill_core::job::JobState;
use cellmill_core::keys::{JobKind, ModelKey, ModelKind, ObjectKey, ProjectFile};
use cellmill_core::matching::{Score, recall_precision};
use cellmill_core::model::{Measured, TrainReport};
use cellmill_core::split::SplitRule;
use cellmill_core::training::NetworkSettings;
use futures::future::try_join_all;
use serde_json::Value;

use crate::cli::{Console, Error};
use crate::client::Client;
use crate::commands::jobs;
use crate::import;

use super::report::{Class, Paths, Report};
use super::{apart, files, pictures};

/// How long each stage took.
#[derive(Debug)]
pub(super) struct Stages {
    seconds: Vec<(&'static str, f64)>,
    is_told: bool,
}

impl Stages {
    pub(super) const fn new(is_told: bool) -> Self {
        Self {
            seconds: Vec::new(),
            is_told,
        }
    }

    pub(super) fn time<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let result = work();
        self.ended(name, begun);
        result
    }

    fn ended(&mut self, name: &'static str, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64();
        if self.is_told {
            eprint_line(&format!("{name}: {seconds:.1} s"));
        }
        self.seconds.push((name, (seconds * 1e3).round() / 1e3));
    }

    fn seconds(&self) -> BTreeMap<String, f64> {
        let named = self.seconds.iter();
        named
            .map(|(name, it)| (name.replace(' ', "_"), *it))
            .collect()
    }
}

fn eprint_line(text: &str) {
    use std::io::Write as _;
    // A standard error that is closed leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Everything that the way needs.
pub(super) struct Way<'a> {
    pub(super) client: &'a Client,
    pub(super) from: &'a Path,
    /// Where everything lies: the root folder, or the address of a server elsewhere.
    pub(super) place: &'a Place,
    /// Where pictures go.
    pub(super) beside: &'a Path,
    pub(super) seed: u64,
    pub(super) epochs: Option<u32>,
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The root folder of a server of our own.
    Root(PathBuf),
    /// The address of somebody else's server.
    Elsewhere(String),
}

impl Place {
    /// A key as people find it there.
    fn show(&self, key: &ObjectKey) -> String {
        match self {
            Self::Root(root) => root.join(key.to_path()).display().to_string(),
            Self::Elsewhere(_) => key.to_path(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root(root) => write!(f, "{}", root.display()),
            Self::Elsewhere(url) => f.write_str(url),
        }
    }
}

/// The data sets of one batch of photographs.
struct Sets {
    detected: Dir,
    labelled: Dir,
    both: Dir,
}

impl Way<'_> {
    pub(super) async fn go(
        &self,
        stages: &mut Stages,
        console: &mut Console,
    ) -> Result<Report, Error> {
        let begun = Instant::now();
        let imported = import::folder(self.from, self.client.url(), console).await?;
        stages.ended("import", begun);
        let begun = Instant::now();
        let sets = self.data_sets(console).await?;
        stages.ended("data sets", begun);
        let found = files::cells(self.client, &sets.detected).await?;
        let cells = files::cells(self.client, &sets.labelled).await?;
        let both = files::cells(self.client, &sets.both).await?;
        let snapshot = files::snapshot(self.client, &sets.labelled).await?;
        let kept = apart::choose(self.from, &cells, &snapshot, self.seed)?;
        let begun = Instant::now();
        let trained = self.train(&sets.labelled, &kept, console).await?;
        stages.ended("train", begun);
        let begun = Instant::now();
        let mid = trained.mid;
        let predicted = self.predict(mid, &kept, console).await?;
        stages.ended("predict", begun);
        let report: TrainReport = read_value(
            &trained.job,
            trained.job.report.as_ref(),
            "its training report",
        )?;
        let summary = predicted.job.report.clone().unwrap_or_default();
        let figures: Measured = read_value(&predicted.job, summary.get("figures"), "its figures")?;
        let classes = classes(&summary);
        let begun = Instant::now();
        let paths = self.paths(&trained, &predicted, mid);
        let pictures = pictures::draw(self, &predicted.dir, &classes).await?;
        stages.ended("pictures", begun);
        let score = score(&cells, &found);
        let baseline = report.card.baseline.as_ref();
        let n_own = |rows: &[CellsListRow]| rows.iter().filter(|it| !it.duplicate).count() as u64;
        Ok(Report {
            from: self.from.display().to_string(),
            images: imported.images.get("ok").copied().unwrap_or_default(),
            cells: [(0, n_own(&found)), (1, n_own(&cells)), (2, n_own(&both))].into(),
            recall: score.recall(),
            precision: score.precision(),
            classes,
            kept_apart: kept.iter().map(|(b, c)| format!("{b}/{c}")).collect(),
            n_train: report.card.training.as_ref().map_or(0, |it| it.n_train),
            n_predicted: figures.n,
            accuracy: figures.accuracy,
            balanced_accuracy: figures.balanced_accuracy,
            macro_f1: figures.macro_f1,
            majority_accuracy: figures.majority_accuracy,
            per_class: figures.per_class.clone(),
            confusion: figures.confusion.clone(),
            test_accuracy: report.card.test.as_ref().map_or(0.0, |it| it.accuracy),
            baseline_accuracy: baseline.map_or(0.0, |it| it.accuracy),
            baseline_balanced_accuracy: baseline.map_or(0.0, |it| it.balanced_accuracy),
            baseline_macro_f1: baseline.map_or(0.0, |it| it.macro_f1),
            mid,
            seconds: stages.seconds(),
            root: self.place.to_string(),
            is_elsewhere: matches!(self.place, Place::Elsewhere(_)),
            paths,
            pictures,
        })
    }

    /// Data sets of type 0, 1 and 2 of all photographs.
    async fn data_sets(&self, console: &mut Console) -> Result<Sets, Error> {
        let batches = self.batches().await?;
        let wish = |data_type: u8| NewDataset {
            batches: batches.clone(),
            ..new_dataset(data_type)
        };
        let wishes = [0, 1, 2].map(wish);
        let made = try_join_all(wishes.iter().map(|it| self.client.create_dataset(it))).await?;
        for it in &made {
            let job = jobs::wait(self.client, JobKind::Data, it.dir.as_str(), console).await?;
            must_be_done(&job)?;
        }
        let dir = |at: usize| made[at].dir.clone();
        Ok(Sets {
            detected: dir(0),
            labelled: dir(1),
            both: dir(2),
        })
    }

    /// The batches of the folder that was sent: a server elsewhere may hold others, which are none of our business.
    async fn batches(&self) -> Result<Vec<BatchId>, Error> {
        let ours = self.from.join("img");
        let images = self.client.images(&[("state", "ok")]).await?;
        let mut batches: Vec<BatchId> = images
            .into_iter()
            .map(|it| it.key.batch)
            .filter(|it| ours.join(it.as_str()).is_dir())
            .collect();
        batches.sort();
        batches.dedup();
        Ok(batches)
    }

    async fn train(
        &self,
        dataset: &Dir,
        kept: &[(String, String)],
        console: &mut Console,
    ) -> Result<ProjectView, Error> {
        let test = kept.iter().map(|(batch, case)| format!("{batch}/{case}"));
        let network = self.epochs.map(|epochs| NetworkSettings {
            epochs,
            ..NetworkSettings::default()
        });
        let wish = NewProject {
            description: "demo: training".to_owned(),
            dataset: Some(dataset.clone()),
            split: Some(SplitRule::Cases {
                test: test.collect(),
            }),
            seed: Some(self.seed),
            network,
            ..NewProject::of_kind(JobKind::Train)
        };
        self.project(wish, console).await
    }

    async fn predict(
        &self,
        mid: u64,
        kept: &[(String, String)],
        console: &mut Console,
    ) -> Result<ProjectView, Error> {
        let id = |error: cellmill_core::ids::IdError| Error::usage(error.to_string());
        let mut batches = Vec::new();
        let mut cases = Vec::new();
        for (batch, case) in kept {
            let batch = BatchId::parse(batch).map_err(id)?;
            if !batches.contains(&batch) {
                batches.push(batch);
            }
            cases.push(CaseId::parse(case).map_err(id)?);
        }
        let wish = NewProject {
            description: "demo: prediction of the cases that were kept apart".to_owned(),
            new_dataset: Some(NewDataset {
                batches,
                cases,
                ..new_dataset(1)
            }),
            mid: Some(mid),
            parameter_type: Some(1),
            ..NewProject::of_kind(JobKind::Predict)
        };
        self.project(wish, console).await
    }

    async fn project(&self, wish: NewProject, console: &mut Console) -> Result<ProjectView, Error> {
        let made = self.client.create_project(&wish).await?;
        let dir = made.dir.as_str();
        let job = jobs::wait(self.client, wish.kind, dir, console).await?;
        must_be_done(&job)?;
        Ok(self.client.project(dir).await?)
    }

    fn paths(&self, trained: &ProjectView, predicted: &ProjectView, mid: u64) -> Paths {
        let at = |key: ObjectKey| self.place.show(&key);
        let of = |project: &ProjectView, file| at(ObjectKey::Project(project.dir.clone(), file));
        Paths {
            training: of(trained, ProjectFile::Model),
            model: at(ObjectKey::Model(ModelKey::of_number(
                ModelKind::Classifier,
                mid,
            ))),
            predictions: of(predicted, ProjectFile::Predict2 { part: 0 }),
            curves: of(trained, ProjectFile::Curves),
            confusion: of(trained, ProjectFile::Confusion),
        }
    }
}

fn new_dataset(data_type: u8) -> NewDataset {
    NewDataset {
        description: format!("demo: type {data_type}"),
        parameter_type: data_type,
        ..NewDataset::default()
    }
}

fn must_be_done(job: &JobView) -> Result<(), Error> {
    if job.state == JobState::Done {
        return Ok(());
    }
    let why = job
        .error
        .clone()
        .unwrap_or_else(|| "it has no result".to_owned());
    Err(Error::Usage {
        what: format!("the {} job {} failed: {why}", job.kind.as_str(), job.dir),
        hint: None,
    })
}

fn read_value<T: serde::de::DeserializeOwned>(
    job: &JobView,
    value: Option<&Value>,
    what: &str,
) -> Result<T, Error> {
    let value = value.cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(Error::inner(format!(
        "read of the {} job {} {what}",
        job.kind.as_str(),
        job.dir
    )))
}

fn classes(summary: &Value) -> Vec<Class> {
    let listed = summary["classes"].as_array().cloned().unwrap_or_default();
    let class = |it: &Value| {
        Some(Class {
            id: u32::try_from(it["id"].as_u64()?).ok()?,
            name: it["name"].as_str()?.to_owned(),
        })
    };
    listed.iter().filter_map(class).collect()
}

/// The detections of type 0 against the boxes of type 1, where the doctors drew boxes.
fn score(truth: &[CellsListRow], found: &[CellsListRow]) -> Score {
    let mut images: BTreeMap<&str, (Vec<BBox>, Vec<BBox>)> = BTreeMap::new();
    for row in truth.iter().filter(|it| !it.duplicate) {
        let image = images.entry(row.imgpath.as_deref().unwrap_or_default());
        image.or_default().0.extend(row.kernel);
    }
    for row in found.iter().filter(|it| !it.duplicate) {
        let image = images.entry(row.imgpath.as_deref().unwrap_or_default());
        image.or_default().1.extend(row.kernel);
    }
    let mut score = Score::default();
    for (truth, found) in images.values() {
        score += recall_precision(truth, found, 0.5);
    }
    score
}
