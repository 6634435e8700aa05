//! One unit of a prediction: one piece of the frozen cells.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cellmill_core::classes::NOT_A_CELL;
use cellmill_core::formats::{PredictedCell, ProjectInput};
use cellmill_core::ids::Dir;
use cellmill_core::job::JobParameters;
use cellmill_core::keys::{JobKind, ObjectKey, ProjectFile, ProjectFolder};
use cellmill_core::training::PredictParameters;
use cellmill_worker::{Algorithm, Context, Failure, Outcome, Unit};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::answers::{Answer, Answers};
use crate::algorithms::refuse;
use crate::bench::Bench;
use crate::cells::{CellReader, Picture, Wanted, known_classes, read_piece};
use crate::models::{Model, ModelError};
use crate::network::{highest, probabilities};

/// Copies of cells under `projects/<dir>/predict/`, of the whole job: enough to look through.
const MAX_COPIES: usize = 100_000;
/// Cells of a piece, at most. Pieces are full but for the last one, so this tells how many came before.
const CELLS_PER_PIECE: usize = 5_000;
/// Copies written at once: each waits for the disk.
const PARALLEL_WRITES: usize = 16;

/// Predicts. One for a process: its units take turns on the device, and share loaded models.
#[derive(Clone, Debug)]
pub struct PredictAlgorithm {
    bench: Bench,
}

impl PredictAlgorithm {
    pub fn new(bench: Bench) -> Self {
        Self { bench }
    }
}

#[async_trait]
impl Algorithm for PredictAlgorithm {
    fn kinds(&self) -> &[JobKind] {
        &[JobKind::Predict]
    }

    fn needs_device(&self) -> bool {
        true
    }

    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
        let JobParameters::Predict(parameters) = &unit.job.parameters else {
            return Err(refuse(format!("job `{}` is no prediction", unit.job.dir)));
        };
        let number = unit.key.unit;
        let piece = read_piece(context.store(), &unit.key.dir, number).await?;
        let piece = piece
            .ok_or_else(|| refuse(format!("piece {number} of the frozen input does not exist")))?;
        let prediction = self
            .prediction(parameters, &unit.key.dir, number, &piece, context)
            .await?;
        let turn = self.bench.compute.turn(context).await?;
        let answered = prediction.run(context).await?;
        drop(turn);
        context.info(&format!(
            "{} of {} cells answered by model {}",
            answered.len(),
            piece.cells.len(),
            parameters.mid
        ));
        let mut lines = Vec::with_capacity(answered.len() * 256);
        for cell in &answered {
            serde_json::to_writer(&mut lines, cell).expect("a cell holds nothing that JSON can't");
            lines.push(b'\n');
        }
        let cells = context.write_output("cells", "cells.jsonl", lines).await?;
        Ok(Outcome {
            outputs: vec![cells],
        })
    }
}

impl PredictAlgorithm {
    async fn prediction<'a>(
        &'a self,
        parameters: &PredictParameters,
        dir: &'a Dir,
        number: u32,
        piece: &'a ProjectInput,
        context: &Context,
    ) -> Result<Prediction<'a>, Failure> {
        let store = context.store();
        let models = &self.bench.models;
        let model = models
            .load(store, parameters.mid)
            .await
            .map_err(ModelError::failure)?;
        let filter = match parameters.filter_mid {
            Some(mid) => Some(models.load(store, mid).await.map_err(ModelError::failure)?),
            None => None,
        };
        let known = known_classes(store).await?;
        let answers = Answers::new(parameters, &model.card, known).map_err(refuse)?;
        Ok(Prediction {
            bench: &self.bench,
            dir,
            n_before: number as usize * CELLS_PER_PIECE,
            piece,
            sides: sides(&model, filter.as_deref()),
            model,
            filter,
            answers,
        })
    }
}

/// The model's side, and the filter's where it differs.
fn sides(model: &Model, filter: Option<&Model>) -> Vec<u32> {
    let mut sides = vec![model.side()];
    sides.extend(filter.map(Model::side).filter(|it| *it != model.side()));
    sides
}

/// A unit at work.
struct Prediction<'a> {
    bench: &'a Bench,
    dir: &'a Dir,
    /// Cells of earlier pieces.
    n_before: usize,
    piece: &'a ProjectInput,
    model: Arc<Model>,
    filter: Option<Arc<Model>>,
    answers: Answers,
    sides: Vec<u32>,
}

impl Prediction<'_> {
    /// All cells that could be read, in the order of the piece.
    async fn run(&self, context: &mut Context) -> Result<Vec<PredictedCell>, Failure> {
        let n = self.piece.cells.len();
        let wanted = self
            .piece
            .cells
            .iter()
            .enumerate()
            .map(|(at, cell)| Wanted {
                at,
                pack: &self.piece.packs[cell.pack as usize],
                name: &cell.name,
            });
        let bench = self.bench;
        let mut reader = CellReader::new(&bench.compute, &bench.limits, &self.sides, wanted);
        let mut answered = vec![None; n];
        let mut n_done = 0;
        while let Some(pictures) = reader.next(context).await? {
            for (picture, answer) in pictures.iter().zip(self.answer(&pictures)?) {
                answered[picture.at] = Some(self.cell(picture.at, answer));
            }
            self.copy(&pictures, context).await?;
            n_done += pictures.len();
            let percent = 99.0 * n_done as f64 / n as f64;
            context.report(percent, &format!("cell {n_done} of {n}"));
        }
        Ok(answered.into_iter().flatten().collect())
    }

    /// By size, then by the filter, then by the model.
    fn answer(&self, pictures: &[Picture]) -> Result<Vec<Answer>, Failure> {
        let mut answers: Vec<Option<Answer>> = pictures
            .iter()
            .map(|it| self.answers.by_size(&self.piece.cells[it.at]))
            .collect();
        if let Some(filter) = &self.filter {
            let side = usize::from(self.sides.len() > 1);
            let said = self.ask(filter, pictures, side, &mut answers, |row| {
                let likely = probabilities(row, filter.temperature());
                (highest(row) == 1).then(|| Answer {
                    class: NOT_A_CELL,
                    probability: likely[1],
                })
            });
            said?;
        }
        self.ask(&self.model, pictures, 0, &mut answers, |row| {
            Some(self.answers.by_model(row))
        })?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Asks a model about the cells that have no answer yet.
    fn ask(
        &self,
        model: &Model,
        pictures: &[Picture],
        side: usize,
        answers: &mut [Option<Answer>],
        answer: impl Fn(&[f32]) -> Option<Answer>,
    ) -> Result<(), Failure> {
        let open: Vec<usize> = (0..answers.len())
            .filter(|&it| answers[it].is_none())
            .collect();
        let pixels = open.iter().map(|&it| pictures[it].pixels[side].as_slice());
        let pixels: Vec<u8> = pixels.collect::<Vec<_>>().concat();
        let rows = self.bench.compute.run(|| model.logits(&pixels));
        let rows = rows.map_err(|error| {
            Failure::permanent(format!("model {} could not answer", model.card.mid), error)
        })?;
        for (at, row) in open.into_iter().zip(rows) {
            answers[at] = answer(&row);
        }
        Ok(())
    }

    fn cell(&self, at: usize, answer: Answer) -> PredictedCell {
        let cell = &self.piece.cells[at];
        PredictedCell {
            predict: answer.class,
            true_type: self.answers.truth(cell, answer),
            url: self.copy_key(at).to_path(),
            score: Some(answer.score()),
            probability: Some(answer.fine_score()),
            crop: Some(cell.crop),
            imgid: Some(self.piece.images[cell.image as usize].imgid),
        }
    }

    /// Cells are copied to the folder of the class that they came with, as the predecessor did.
    fn copy_key(&self, at: usize) -> ObjectKey {
        let cell = &self.piece.cells[at];
        let file = ProjectFile::Cell {
            folder: ProjectFolder::Predict,
            class: cell.class,
            name: cell.name.clone(),
        };
        ObjectKey::Project(self.dir.clone(), file)
    }

    async fn copy(&self, pictures: &[Picture], context: &Context) -> Result<(), Failure> {
        let copies: Vec<(ObjectKey, Bytes)> = pictures
            .iter()
            .filter(|it| self.n_before + it.at < MAX_COPIES)
            .map(|it| (self.copy_key(it.at), it.png.clone()))
            .collect();
        stream::iter(copies)
            .map(|(key, png)| async move { context.write_cached(&key, png).await })
            .buffer_unordered(PARALLEL_WRITES)
            .try_collect()
            .await
    }
}
