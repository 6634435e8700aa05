//! What the workers compute: next to nothing, in virtual time, as a pure function of the frozen input.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cellmill_core::boxes::BBox;
use cellmill_core::formats::{CellsListRow, PredictedCell, ProjectInput};
use cellmill_core::ids::sha256_hex;
use cellmill_core::job::DataType;
use cellmill_core::keys::{
    DatasetFile, JobKind, ModelKey, ModelKind, ObjectKey, PackName, ProjectFile,
};
use cellmill_core::model::{ModelCard, TrainReport};
use cellmill_core::snapshot::{InputImage, UnitInput};
use cellmill_store::Store;
use cellmill_vision::pack::write_pack;
use cellmill_worker::{Algorithm, Context, Failure, Outcome, Unit};
use serde::de::DeserializeOwned;

use crate::bugs::Bug;
use crate::names::job_number;
use crate::people::MODEL;
use crate::plan::Item;
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Work(pub(crate) Arc<World>);

#[async_trait]
impl Algorithm for Work {
    fn kinds(&self) -> &[JobKind] {
        &[JobKind::Data, JobKind::Predict, JobKind::Train]
    }

    fn computes(&self) -> bool {
        false
    }

    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
        if unit.key.kind == JobKind::Train {
            let outcome = train(&self.0, unit, context).await?;
            self.fail(unit)?;
            return Ok(outcome);
        }
        let n = u64::from(unit.key.unit);
        let mut drawn = self
            .0
            .drawn(&[4, job_number(&unit.key.dir), n, u64::from(unit.attempt)]);
        // Mostly a few seconds; now and then longer than a lease.
        let seconds = match drawn.below(10) {
            0..6 => drawn.below(8),
            6..9 => 10 + drawn.below(30),
            _ => 60 + drawn.below(60),
        };
        let steps = 2 + drawn.below(4);
        for step in 0..steps {
            tokio::time::sleep(Duration::from_millis(
                seconds * 1000 / steps + drawn.below(900),
            ))
            .await;
            context.check_stop()?;
            context.report(100.0 * (step + 1) as f64 / (steps + 1) as f64, "working");
        }
        self.fail(unit)?;
        if unit.key.kind == JobKind::Data {
            data(unit, context).await
        } else {
            predict(unit, context).await
        }
    }
}

impl Work {
    /// Fails when the plan says so.
    fn fail(&self, unit: &Unit) -> Result<(), Failure> {
        for item in &self.0.plan.items {
            let Item::Failing {
                job,
                unit: failing,
                times,
                is_permanent,
                is_healed_by_retry,
            } = item
            else {
                continue;
            };
            let is_it = job_number(&unit.key.dir) == *job as u64 && *failing == unit.key.unit;
            let is_healed = *is_healed_by_retry && unit.job.round > 0;
            if !is_it || is_healed || unit.attempt > *times {
                continue;
            }
            let what = "the plan says so";
            return Err(if *is_permanent {
                Failure::permanent(what, std::fmt::Error)
            } else {
                Failure::temporary(what, std::fmt::Error)
            });
        }
        Ok(())
    }
}

/// Steps of a training.
const STEPS: u32 = 8;

/// What a training knows after so many steps, told in a line: each step needs all that came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Learned {
    steps: u32,
    hash: String,
}

impl Learned {
    fn nothing() -> Self {
        Self {
            steps: 0,
            hash: sha256_hex(b"seed"),
        }
    }

    fn learn(&mut self) {
        self.steps += 1;
        self.hash = sha256_hex(format!("{} {}", self.hash, self.steps).as_bytes());
    }

    fn line(&self) -> String {
        format!("{} {}", self.steps, self.hash)
    }

    fn parse(line: &str) -> Option<Self> {
        let (steps, hash) = line.split_once(' ')?;
        Some(Self {
            steps: steps.parse().ok()?,
            hash: hash.to_owned(),
        })
    }
}

/// What is wrong with a model: it must be what an undisturbed training knows after as many steps.
pub(crate) fn wrong_model(model: &[u8], is_stopped: bool) -> Option<String> {
    let told = String::from_utf8_lossy(model).into_owned();
    let Some(learned) = Learned::parse(&told) else {
        return Some(format!("the model is {told}"));
    };
    let mut expected = Learned::nothing();
    for _ in 0..learned.steps {
        expected.learn();
    }
    if learned != expected {
        return Some(format!(
            "the model is {told}, undisturbed it is {}",
            expected.line()
        ));
    }
    let is_whole = learned.steps == STEPS || (is_stopped && learned.steps > 0);
    (!is_whole).then(|| format!("{} of {STEPS} steps, and nobody stopped it", learned.steps))
}

async fn train(world: &World, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
    let mut learned = Learned::nothing();
    while let Some((checkpoint, bytes)) = context.newest_checkpoint().await? {
        if let Some(saved) = Learned::parse(&String::from_utf8_lossy(&bytes)) {
            learned = saved;
            context.resumed_from(&checkpoint);
            if world.is_bug(Bug::StepLostOnResume) {
                learned.steps += 1;
            }
            break;
        }
        context.drop_checkpoint(&checkpoint, "it can't be read");
    }
    let mut drawn = world.drawn(&[5, job_number(&unit.key.dir), u64::from(unit.attempt)]);
    while learned.steps < STEPS {
        if context.should_finish() {
            if learned.steps == 0 {
                return Err(Failure::NothingToKeep);
            }
            break;
        }
        // Short pauses in which it looks whether it should stop.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(500 + drawn.below(4000))).await;
            if context.should_stop() || context.should_finish() {
                break;
            }
        }
        let is_back = context.is_handed_back();
        if !is_back {
            context.check_stop()?;
            learned.learn();
            context.report(f64::from(100 * learned.steps / STEPS), "learning");
        }
        if is_back || context.is_checkpoint_due() {
            let is_best = drawn.below(3) == 0;
            context
                .write_checkpoint("state", learned.line(), is_best)
                .await?;
        }
        context.check_stop()?;
    }
    let model = learned.line();
    let file = ObjectKey::Model(ModelKey::of_number(ModelKind::Classifier, MODEL)).to_path();
    let sha256 = sha256_hex(model.as_bytes());
    let report = TrainReport {
        v: 1,
        epochs: Vec::new(),
        card: ModelCard::of_file(MODEL, file, model.len() as u64, sha256),
        rival: None,
        candidates: Vec::new(),
        profile: None,
    };
    let report = serde_json::to_vec(&report).unwrap_or_default();
    let model = context.write_output("model", "model", model).await?;
    let report = context
        .write_output("report", "report.json", report)
        .await?;
    Ok(Outcome {
        outputs: vec![model, report],
    })
}

async fn input<T: DeserializeOwned>(store: &Store, key: &ObjectKey) -> Result<T, Failure> {
    let read = store.read_json::<T>(key).await;
    let read = read.map_err(|error| Failure::of_store("could not read the input", error))?;
    read.map(|it| it.value).ok_or_else(|| Failure::Permanent {
        what: format!("input `{key:?}` is not there"),
        source: None,
    })
}

async fn data(unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
    let dir = unit.key.dir.clone();
    let key = ObjectKey::Dataset(
        dir.clone(),
        DatasetFile::Input {
            unit: unit.key.unit,
        },
    );
    let input: UnitInput = input(context.store(), &key).await?;
    let rows: Vec<CellsListRow> = input.images.iter().map(row).collect();
    let mut table = Vec::new();
    CellsListRow::write_header(&mut table);
    CellsListRow::write_rows(&rows, &mut table);
    let cells = rows.iter().map(|it| (cell_name(it), b"png".to_vec()));
    let pack = write_pack(cells).map_err(|it| Failure::permanent("could not pack", it))?;
    let name = PackName::of_content(unit.key.unit, &sha256_hex(&pack));
    let key = ObjectKey::Dataset(dir, DatasetFile::Pack(name));
    let pack = context.write_shared("pack", &key, pack).await?;
    let rows = context.write_output("rows", "rows.csv", table).await?;
    Ok(Outcome {
        outputs: vec![rows, pack],
    })
}

fn cell_name(row: &CellsListRow) -> String {
    row.cellpath
        .rsplit_once('/')
        .map_or(String::new(), |it| it.1.to_owned())
}

fn row(image: &InputImage) -> CellsListRow {
    CellsListRow {
        batchid: image.batch.clone(),
        medicalid: image.case.clone(),
        imgid: Some(image.imgid),
        imgname: image.name.clone(),
        imgpath: Some(image.key.clone()),
        p1n0: 0,
        gray: true,
        size: 100,
        data_type: DataType::Points,
        mid: 0,
        cache: false,
        cellpath: format!("x/{}.png", image.imgid),
        crop: BBox::new(0, 0, 10, 10),
        celltype: 1 + (image.imgid % 5) as u32,
        kernel: None,
        duplicate: false,
    }
}

async fn predict(unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
    let file = ProjectFile::Input {
        piece: unit.key.unit,
    };
    let key = ObjectKey::Project(unit.key.dir.clone(), file);
    let input: ProjectInput = input(context.store(), &key).await?;
    let mut lines = Vec::new();
    for cell in &input.cells {
        let cell = PredictedCell {
            predict: cell.class,
            true_type: cell.class,
            url: format!("x/{}/{}", cell.class, cell.name),
            score: Some(0.5),
            probability: None,
            crop: Some(cell.crop),
            imgid: None,
        };
        lines.extend(serde_json::to_vec(&cell).unwrap_or_default());
        lines.push(b'\n');
    }
    let cells = context.write_output("cells", "cells.jsonl", lines).await?;
    Ok(Outcome {
        outputs: vec![cells],
    })
}
