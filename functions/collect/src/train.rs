//! The result files of a training, and its model in the registry.

use bytes::Bytes;
use cellmill_core::formats::{Indent, SearchedModel, TrainResult, to_json};
use cellmill_core::ids::TableName;
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{ModelKey, ObjectKey, ProjectFile, ProjectFolder};
use cellmill_core::model::{
    Decided, Detected, DetectorFacts, Measured, ModelCard, ModelState, TrainReport,
};
use cellmill_core::records::{LabelTypeSettings, Named};
use cellmill_core::training::TrainParameters;
use cellmill_core::unit::UnitRecord;
use cellmill_store::{Decision, Put, Store};
use serde_json::{Map, Value, json};

use crate::outputs::{bad, committed, output, read_output};
use crate::{Collect, Error, failed};

/// A classifier, in the numbers of the predecessor's models.
const CLASSIFIER: u32 = 6;
/// A one-stage detector, which its lists show among the croppers.
const DETECTOR: u32 = 7;

/// Who adopts a model that a periodic training brought.
const BY: &str = "periodic training";

/// Writes all files and returns the job's result and report.
pub(crate) async fn write(
    collect: &Collect,
    job: &JobRecord,
    parameters: &TrainParameters,
) -> Result<(Value, Option<Value>), Error> {
    let store = &collect.store;
    let lost = |it| failed(&job.dir, it);
    let unit = committed(store, job, 0).await?;
    let report = read_report(store, job, &unit).await?;
    let model = needed(store, job, &unit, "model").await?;
    let key = parameters.model_key();
    store
        .put_bytes(&ObjectKey::Model(key.clone()), model, Put::IfSame)
        .await
        .map_err(lost)?;
    for (name, file) in [
        ("split", ProjectFile::Split),
        ("train_labels", ProjectFile::Labels(ProjectFolder::Train)),
        ("test_labels", ProjectFile::Labels(ProjectFolder::Test)),
        ("curves", ProjectFile::Curves),
        ("detections", ProjectFile::Detections),
        ("confusion", ProjectFile::Confusion),
        ("trace", ProjectFile::Trace),
        ("log", ProjectFile::Log),
    ] {
        let Some(found) = output(&unit, name) else {
            continue;
        };
        let bytes = read_output(store, job, found).await?;
        let key = ObjectKey::Project(job.dir.clone(), file);
        store
            .put_bytes(&key, bytes, Put::Overwrite)
            .await
            .map_err(lost)?;
    }
    let card = register(store, parameters, &report, &key)
        .await
        .map_err(lost)?;
    let result = mod_json(job, &card, &report);
    let key = ObjectKey::Project(job.dir.clone(), ProjectFile::Model);
    store
        .put_bytes(&key, to_json(&result, Indent::Two), Put::Overwrite)
        .await
        .map_err(lost)?;
    let result = serde_json::to_value(&result).unwrap_or_default();
    let report = serde_json::to_value(&TrainReport { card, ..report }).unwrap_or_default();
    Ok((result, Some(report)))
}

async fn read_report(
    store: &Store,
    job: &JobRecord,
    unit: &UnitRecord,
) -> Result<TrainReport, Error> {
    let bytes = needed(store, job, unit, "report").await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| bad(job, "report.json", &cellmill_service::report(&error)))
}

async fn needed(
    store: &Store,
    job: &JobRecord,
    unit: &UnitRecord,
    name: &str,
) -> Result<Bytes, Error> {
    let found = output(unit, name)
        .ok_or_else(|| bad(job, name, "the commit of the training names no such output"))?;
    read_output(store, job, found).await
}

/// Writes the model's card; a periodic training's model is adopted first, when it is not worse.
async fn register(
    store: &Store,
    parameters: &TrainParameters,
    report: &TrainReport,
    key: &ModelKey,
) -> Result<ModelCard, cellmill_store::Error> {
    let mut card = report.card.clone();
    card.file = ObjectKey::Model(key.clone()).to_path();
    card.state = ModelState::Ready;
    if let Some(label_type) = &parameters.propose_for {
        let is_adopted =
            report.is_not_worse() && adopt(store, label_type, parameters.mid, report).await?;
        card.state = if is_adopted {
            ModelState::Adopted
        } else {
            ModelState::Proposed
        };
        card.decided = Some(Decided {
            at: store.now(),
            by: BY.to_owned(),
            why: why(report, is_adopted),
        });
    }
    // What a person decided since a first run stays.
    let created = store
        .create(&ObjectKey::ModelCard(key.clone()), card)
        .await?;
    Ok(created.into_stored().value)
}

/// Makes the model the one that pre-annotates, unless somebody chose another meanwhile.
async fn adopt(
    store: &Store,
    label_type: &TableName,
    mid: u64,
    report: &TrainReport,
) -> Result<bool, cellmill_store::Error> {
    let rival = report.rival.as_ref().map(|it| it.mid);
    let swapped = store
        .swap::<Named<LabelTypeSettings>>(&ObjectKey::LabelType(label_type.clone()), |stored| {
            match stored {
                Some(it) if it.value.mid == rival || it.value.mid.is_none() => {
                    let mut next = it.clone();
                    next.value.mid = Some(mid);
                    Decision::Write(next)
                }
                _ => Decision::Keep,
            }
        })
        .await?;
    Ok(swapped
        .stored
        .is_some_and(|it| it.value.value.mid == Some(mid)))
}

fn why(report: &TrainReport, is_adopted: bool) -> String {
    let share = |it: Option<&Measured>| it.map_or(0.0, |it| 100.0 * it.balanced_accuracy);
    let own = share(report.card.test.as_ref());
    match (&report.rival, is_adopted) {
        (None, true) => format!("the first model of its label type: balanced accuracy {own:.1} %"),
        (None, false) => {
            "the model in use could not be compared with it, or was chosen meanwhile".to_owned()
        }
        (Some(rival), _) => format!(
            "balanced accuracy {own:.1} %, model {} has {:.1} % on the same cells{}",
            rival.mid,
            share(Some(&rival.test)),
            if is_adopted { "" } else { ": not adopted" }
        ),
    }
}

/// The legacy result. Where the predecessor measured nothing (recall -1), what was measured stands.
fn mod_json(job: &JobRecord, card: &ModelCard, report: &TrainReport) -> TrainResult {
    let validation = card.validation.clone().unwrap_or_default();
    let test = card.test.clone();
    let mean_of = |it: &Measured| {
        let seen = it.per_class.iter().filter(|it| it.support > 0);
        let (sum, n) = seen.fold((0.0, 0_u32), |(sum, n), it| (sum + it.precision, n + 1));
        sum / f64::from(n.max(1))
    };
    let loss = validation
        .loss
        .unwrap_or_else(|| report.epochs.last().map_or(0.0, |it| it.train_loss));
    let side = card.input.side;
    let training = card.training.as_ref();
    let mut extra = Map::new();
    extra.insert("mid".to_owned(), json!(card.mid));
    extra.insert("test".to_owned(), json!(test));
    extra.insert("baseline".to_owned(), json!(card.baseline));
    extra.insert("split".to_owned(), json!(training.map(|it| &it.split)));
    extra.insert("seed".to_owned(), json!(training.map(|it| it.seed)));
    extra.insert(
        "snapshot".to_owned(),
        json!(training.map(|it| &it.snapshot)),
    );
    let result = TrainResult {
        n_train: training.map_or(0, |it| it.n_train),
        n_classes: card.classes.len() as u32,
        input_shape: format!("{side}x{side}x3"),
        history: vec![SearchedModel {
            model_id: 0,
            loss,
            metric_value: validation.accuracy,
        }],
        model_count: 1,
        best_model: 0,
        loss,
        metric_value: validation.accuracy,
        evaluate_value: test.as_ref().map_or(validation.accuracy, |it| it.accuracy),
        id: 0,
        model_type: CLASSIFIER,
        types: card.classes.iter().map(|it| it.id).collect(),
        pid: job.number,
        path: card.file.clone(),
        desc: card.description.clone(),
        recall: test.as_ref().map_or(-1.0, |it| it.balanced_accuracy),
        precision: test.as_ref().map_or(validation.accuracy, mean_of),
        extra,
    };
    match &card.detector {
        Some(facts) => of_detector(result, facts),
        None => result,
    }
}

/// Of a detector what counts is average precision at an overlap of .50, and precision and recall from its threshold on.
fn of_detector(result: TrainResult, facts: &DetectorFacts) -> TrainResult {
    let ap50 = |it: &Option<Detected>| it.as_ref().map(|it| it.ap50);
    let validation = ap50(&facts.validation).unwrap_or(0.0);
    let judged = facts.test.as_ref().or(facts.validation.as_ref());
    TrainResult {
        history: vec![SearchedModel {
            model_id: 0,
            loss: result.loss,
            metric_value: validation,
        }],
        metric_value: validation,
        evaluate_value: ap50(&facts.test).unwrap_or(validation),
        model_type: DETECTOR,
        recall: judged.map_or(-1.0, |it| it.recall),
        precision: judged.map_or(-1.0, |it| it.precision),
        ..result
    }
}
