//! The files of a training or prediction that is done, and models.

use cellmill_core::formats::{PredictResult, ProjectInfo, TrainResult, read_labels};
use cellmill_core::ids::{Dir, sha256_hex};
use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{ModelKey, ModelKind, ObjectKey, ProjectFile, ProjectFolder};
use cellmill_core::model::{ModelCard, ModelState};

use super::finding::Findings;

/// Checks that every result file is there and that they agree.
pub(super) async fn results(it: &mut Findings<'_>, dir: &Dir, job: &JobRecord) {
    let key = |file| ObjectKey::Project(dir.clone(), file);
    for file in [ProjectFile::Info, ProjectFile::Lists, ProjectFile::Log] {
        it.needs("result file exists", &key(file)).await;
    }
    let info = it.json::<ProjectInfo>(&key(ProjectFile::Info)).await;
    if info.is_some_and(|it| it.id != job.number || it.dir != dir.as_str()) {
        it.problem(
            "info.json speaks of its job",
            "its number or directory is another",
        );
    }
    match &job.parameters {
        JobParameters::Train(parameters) if job.class.is_legacy() => {
            // What else its worker leaves is its own business.
            let _ = it.json::<TrainResult>(&key(ProjectFile::Model)).await;
            let model = ModelKey::of_number(ModelKind::Classifier, parameters.mid);
            it.needs("training has its model", &ObjectKey::ModelCard(model))
                .await;
        }
        JobParameters::Train(parameters) => {
            let own = match parameters.detector {
                Some(_) => ProjectFile::Detections,
                None => ProjectFile::Confusion,
            };
            for file in [
                ProjectFile::Model,
                ProjectFile::Split,
                ProjectFile::Curves,
                own,
            ] {
                it.needs("result file exists", &key(file)).await;
            }
            let _ = it.json::<TrainResult>(&key(ProjectFile::Model)).await;
            if parameters.detector.is_none() {
                let n_train = labels(it, dir, ProjectFolder::Train).await;
                let n_test = labels(it, dir, ProjectFolder::Test).await;
                if n_train + n_test == 0 {
                    it.problem("labels name cells", "both tables are empty");
                }
            }
            it.needs(
                "training has its model",
                &ObjectKey::ModelCard(parameters.model_key()),
            )
            .await;
        }
        JobParameters::Predict(_) => {
            let n = labels(it, dir, ProjectFolder::Predict).await;
            predictions(it, dir, n).await;
        }
        JobParameters::Data(_) => {}
    }
}

/// The rows of a table of labels.
async fn labels(it: &mut Findings<'_>, dir: &Dir, folder: ProjectFolder) -> usize {
    let key = ObjectKey::Project(dir.clone(), ProjectFile::Labels(folder));
    if !it.needs("result file exists", &key).await {
        return 0;
    }
    let Some(bytes) = it.bytes(&key).await else {
        return 0;
    };
    match read_labels(&bytes) {
        Ok(rows) => rows.len(),
        Err(error) => {
            it.problem("labels are readable", format!("`{key}`: {error}"));
            0
        }
    }
}

/// predict2.json and its parts hold as many cells as the table of labels, and the counts are theirs.
async fn predictions(it: &mut Findings<'_>, dir: &Dir, n_labels: usize) {
    let (mut n_cells, mut n_counted, mut part) = (0, 0, 0);
    loop {
        let key = ObjectKey::Project(dir.clone(), ProjectFile::Predict2 { part });
        if part > 0 && it.length(&key).await.is_none() {
            break;
        }
        if !it.needs("result file exists", &key).await {
            return;
        }
        let Some(result) = it.json::<PredictResult>(&key).await else {
            return;
        };
        n_cells += result.crop_cells.len();
        n_counted = result.result.iter().map(|it| it.total as usize).sum();
        part += 1;
    }
    if n_cells != n_labels || n_cells != n_counted {
        it.problem(
            "predictions are counted",
            format!("{n_cells} cells, {n_counted} counted, {n_labels} in predict_labels.csv"),
        );
    }
}

/// A card and its file.
pub(super) async fn model(it: &mut Findings<'_>, key: &ModelKey) {
    let Some(card) = it.document::<ModelCard>(it.key).await else {
        return;
    };
    let file = match ObjectKey::parse(&card.file) {
        // A file of the predecessor keeps its name; the card lies where every model's does, by its number.
        Ok(Some(file @ ObjectKey::Model(_))) if card.mtype.is_some() => file,
        _ => ObjectKey::Model(key.clone()),
    };
    if card.file != file.to_path() {
        it.problem(
            "card speaks of its file",
            format!("it speaks of `{}`", card.file),
        );
    }
    if card.state == ModelState::Uploading {
        return it.note("model has its file", "its file was not uploaded yet");
    }
    if !it.needs("model has its file", &file).await {
        return;
    }
    let Some(bytes) = it.bytes(&file).await else {
        return;
    };
    if bytes.len() as u64 != card.bytes || sha256_hex(&bytes) != card.sha256 {
        it.problem(
            "model is what its card says",
            format!("`{file}` has other bytes than those that the card names"),
        );
    }
}
