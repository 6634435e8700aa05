//! What a program left, as outputs that collect understands.

use std::collections::BTreeMap;

use cellmill_core::document::Stamp;
use cellmill_core::formats::{
    CellsList, CellsListRow, Indent, InputCell, PredictedCell, ProjectInput, to_json,
};
use cellmill_core::ids::{BatchId, CaseId, sha256_hex};
use cellmill_core::job::JobParameters;
use cellmill_core::keys::{
    DatasetFile, ModelKey, ModelKind, ObjectKey, PackName, ProjectFile, ProjectFolder,
};
use cellmill_core::metrics::Confusion;
use cellmill_core::model::{
    EpochFigures, Measured, ModelCard, ModelClass, ModelInput, ModelState, TrainReport,
    TrainingFacts,
};
use cellmill_core::training::{PredictParameters, TrainParameters};
use cellmill_core::unit::Output;
use cellmill_vision::pack::write_pack;
use cellmill_worker::{Context, Failure, Outcome, Unit};
use serde::Deserialize;

use super::folder::Folder;
use crate::algorithms::refuse;
use crate::cells::known_classes;
use crate::network::instruction_set;

/// The cells that a program was asked about.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) pieces: Vec<ProjectInput>,
}

impl Cells {
    /// Every cell with its piece, in the order of `at`.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ProjectInput, &InputCell)> {
        self.pieces
            .iter()
            .flat_map(|piece| piece.cells.iter().map(move |cell| (piece, cell)))
    }
}

/// Reads, checks and uploads what the program left.
pub(super) async fn outcome(
    unit: &Unit,
    context: &mut Context,
    folder: &Folder,
    cells: Cells,
) -> Result<Outcome, Failure> {
    let left = Left { unit, folder };
    let outputs = match &unit.job.parameters {
        JobParameters::Data(_) => left.data(context).await?,
        JobParameters::Train(it) => left.training(it, &cells, context).await?,
        JobParameters::Predict(it) => left.prediction(it, &cells, context).await?,
    };
    Ok(Outcome { outputs })
}

struct Left<'a> {
    unit: &'a Unit,
    folder: &'a Folder,
}

/// `outputs/result.json` of a training.
#[derive(Debug, Deserialize)]
struct Trained {
    /// In the order of the model's answers; those that were asked for when it is not there.
    #[serde(default)]
    types: Vec<u32>,
    n_train: u64,
    #[serde(default)]
    n_validation: u64,
    #[serde(default)]
    n_test: u64,
    #[serde(default)]
    epochs: Vec<Epoch>,
    /// Rows: truth; columns: answers; of the test part.
    #[serde(default)]
    test: Option<Confusion>,
    #[serde(default)]
    validation: Option<Confusion>,
    #[serde(default)]
    loss: Option<f64>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Epoch {
    #[serde(default)]
    train_loss: f64,
    #[serde(default)]
    train_accuracy: f64,
    #[serde(default)]
    learning_rate: f64,
}

/// One line of `outputs/answers.jsonl`.
#[derive(Debug, Deserialize)]
struct Answer {
    at: usize,
    class: u32,
    #[serde(default)]
    score: Option<f64>,
}

impl Left<'_> {
    fn find(&self, file: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.folder.read_output(file).map_err(refuse)
    }

    fn need(&self, file: &str) -> Result<Vec<u8>, Failure> {
        self.find(file)?.ok_or_else(|| {
            refuse(format!(
                "the program ended well and left no `outputs/{file}`"
            ))
        })
    }

    async fn training(
        &self,
        parameters: &TrainParameters,
        cells: &Cells,
        context: &mut Context,
    ) -> Result<Vec<Output>, Failure> {
        let names = self.folder.output_names();
        let names =
            names.map_err(|error| Failure::temporary("could not list the outputs", error))?;
        let model = names
            .iter()
            .find(|it| *it == "model" || it.starts_with("model."));
        let model = self.need(model.map_or("model", String::as_str))?;
        let trained: Trained = serde_json::from_slice(&self.need("result.json")?)
            .map_err(|error| refuse(format!("`outputs/result.json`: {error}")))?;
        let card = self.card(parameters, &trained, &model, context).await?;
        context.info(&format!(
            "{} cells, {} to learn from",
            cells.all().count(),
            trained.n_train
        ));
        let report = TrainReport {
            v: 1,
            epochs: epochs(&trained.epochs),
            card,
            rival: None,
            candidates: Vec::new(),
            profile: None,
        };
        let report = to_json(&report, Indent::Two);
        let mut outputs = vec![
            context.write_output("model", "model", model).await?,
            context
                .write_output("report", "report.json", report)
                .await?,
        ];
        for (role, file) in [
            ("split", "split.csv"),
            ("train_labels", "train_labels.csv"),
            ("test_labels", "test_labels.csv"),
            ("curves", "curves.png"),
            ("confusion", "confusion.png"),
        ] {
            if let Some(bytes) = self.find(file)? {
                outputs.push(context.write_output(role, file, bytes).await?);
            }
        }
        Ok(outputs)
    }

    async fn card(
        &self,
        parameters: &TrainParameters,
        trained: &Trained,
        model: &[u8],
        context: &Context,
    ) -> Result<ModelCard, Failure> {
        let known = known_classes(context.store()).await?;
        let types = if trained.types.is_empty() {
            &parameters.types
        } else {
            &trained.types
        };
        let measured = |it: &Option<Confusion>, n: u64| -> Result<Option<Measured>, Failure> {
            let Some(confusion) = it else {
                return Ok(None);
            };
            if confusion.n_classes() != types.len() || confusion.total() != n {
                return Err(refuse(format!(
                    "`outputs/result.json`: a confusion matrix of {} classes counts {} cells, told are {} classes and {n} cells",
                    confusion.n_classes(),
                    confusion.total(),
                    types.len()
                )));
            }
            Ok(Some(Measured::of(confusion, None)))
        };
        let merged = |id: u32| parameters.merge.iter().find(|it| it.class == id);
        let class = |&id: &u32| ModelClass {
            id,
            name: merged(id).map_or_else(|| known.name(id), |it| it.name.clone()),
        };
        let key = ModelKey::of_number(ModelKind::Classifier, parameters.mid);
        let mut validation = measured(&trained.validation, trained.n_validation)?;
        if let Some(it) = &mut validation {
            it.loss = trained.loss;
        }
        Ok(ModelCard {
            stamp: Stamp::default(),
            mid: parameters.mid,
            kind: ModelKind::Classifier,
            description: self.unit.job.description.clone(),
            file: ObjectKey::Model(key).to_path(),
            bytes: model.len() as u64,
            sha256: sha256_hex(model),
            state: ModelState::Ready,
            classes: types.iter().map(class).collect(),
            input: ModelInput {
                side: parameters.resize,
                gray: parameters.network.gray,
                mean: [0.0; 3],
                std: [1.0; 3],
            },
            family: "exec".to_owned(),
            scale: String::new(),
            features: 0,
            // Only the program that made it can read it: its predictions go to the same workers.
            unit_class: self.unit.job.class.as_str().to_owned(),
            mtype: None,
            training: Some(TrainingFacts {
                project: self.unit.key.dir.to_string(),
                dataset: parameters.ddir.to_string(),
                snapshot: self.unit.job.snapshot.clone().unwrap_or_default(),
                split: parameters.split.clone(),
                split_unit: "program".to_owned(),
                seed: parameters.seed,
                settings: parameters.network.clone(),
                detector: None,
                weights: None,
                merge: parameters.merge.clone(),
                n_train: trained.n_train,
                n_validation: trained.n_validation,
                n_test: trained.n_test,
                epochs_run: trained.epochs.len() as u32,
                best_epoch: trained.epochs.len() as u32,
                ended_early: None,
                instruction_set: instruction_set().to_owned(),
                threads: 0,
                device: "program".to_owned(),
                notes: trained.notes.clone(),
            }),
            validation,
            test: measured(&trained.test, trained.n_test)?,
            baseline: None,
            calibration: None,
            thresholds: Vec::new(),
            detector: None,
            lineage: Vec::new(),
            decided: None,
        })
    }

    async fn prediction(
        &self,
        parameters: &PredictParameters,
        cells: &Cells,
        context: &mut Context,
    ) -> Result<Vec<Output>, Failure> {
        let bytes = self.need("answers.jsonl")?;
        let all: Vec<_> = cells.all().collect();
        let mut answered: BTreeMap<usize, PredictedCell> = BTreeMap::new();
        let lines = bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty());
        for (n, line) in lines.enumerate() {
            let bad =
                |why: String| refuse(format!("line {} of `outputs/answers.jsonl`: {why}", n + 1));
            let answer: Answer = serde_json::from_slice(line).map_err(|it| bad(it.to_string()))?;
            let Some((piece, cell)) = all.get(answer.at) else {
                let n_cells = all.len();
                return Err(bad(format!(
                    "there is no cell {}, there are {n_cells}",
                    answer.at
                )));
            };
            if answer.score.is_some_and(|it| !(0.0..=1.0).contains(&it)) {
                return Err(bad("its score is not between 0 and 1".to_owned()));
            }
            answered.insert(answer.at, self.predicted(parameters, piece, cell, &answer));
        }
        let mut lines = Vec::new();
        for cell in answered.values() {
            serde_json::to_writer(&mut lines, cell).expect("a cell is text and numbers");
            lines.push(b'\n');
        }
        let n_silent = all.len() - answered.len();
        if n_silent > 0 {
            context.warn(&format!("{n_silent} of {} cells have no answer", all.len()));
        }
        Ok(vec![
            context.write_output("cells", "cells.jsonl", lines).await?,
        ])
    }

    fn predicted(
        &self,
        parameters: &PredictParameters,
        piece: &ProjectInput,
        cell: &InputCell,
        answer: &Answer,
    ) -> PredictedCell {
        let file = ProjectFile::Cell {
            folder: ProjectFolder::Predict,
            class: cell.class,
            name: cell.name.clone(),
        };
        let rounded = |steps: f64| answer.score.map(|it| (it * steps).round() / steps);
        PredictedCell {
            predict: answer.class,
            true_type: if parameters.is_labelled {
                cell.class
            } else {
                answer.class
            },
            url: ObjectKey::Project(self.unit.key.dir.clone(), file).to_path(),
            score: rounded(100.0),
            probability: rounded(1e6),
            crop: Some(cell.crop),
            imgid: Some(piece.images[cell.image as usize].imgid),
        }
    }

    /// `cellslist.csv` and `cells/<cell name>.png`.
    async fn data(&self, context: &mut Context) -> Result<Vec<Output>, Failure> {
        let table = self.need("cellslist.csv")?;
        let rows = CellsList::new(&table[..]).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut rows = rows.map_err(|error| {
            refuse(format!(
                "`outputs/cellslist.csv`: {}",
                cellmill_service::report(&error)
            ))
        })?;
        let mut entries: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (n, row) in rows.iter_mut().enumerate() {
            let bad =
                |why: &str| refuse(format!("row {} of `outputs/cellslist.csv`: {why}", n + 1));
            let name = row
                .cellpath
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            let (Ok(batch), Ok(case)) =
                (BatchId::parse(&row.batchid), CaseId::parse(&row.medicalid))
            else {
                return Err(bad("batch or case is none"));
            };
            row.duplicate = entries.contains_key(&name);
            if !row.duplicate {
                let png = self.need(&format!("cells/{name}"))?;
                entries.insert(name.clone(), png);
            }
            row.cellpath = ObjectKey::Cell { batch, case, name }.to_path();
        }
        let mut table = Vec::new();
        CellsListRow::write_header(&mut table);
        CellsListRow::write_rows(&rows, &mut table);
        let mut outputs = vec![context.write_output("rows", "rows.csv", table).await?];
        if !entries.is_empty() {
            let pack = write_pack(entries)
                .map_err(|error| Failure::permanent("could not pack the cells", error))?;
            let name = PackName::of_content(self.unit.key.unit, &sha256_hex(&pack));
            let key = ObjectKey::Dataset(self.unit.key.dir.clone(), DatasetFile::Pack(name));
            outputs.push(context.write_shared("pack", &key, pack).await?);
        }
        Ok(outputs)
    }
}

fn epochs(told: &[Epoch]) -> Vec<EpochFigures> {
    let last = told.len();
    let epoch = |(at, it): (usize, &Epoch)| EpochFigures {
        epoch: at as u32 + 1,
        learning_rate: it.learning_rate,
        train_loss: it.train_loss,
        train_accuracy: it.train_accuracy,
        validation: Measured::default(),
        ap50: None,
        is_best: at + 1 == last,
    };
    told.iter().enumerate().map(epoch).collect()
}
