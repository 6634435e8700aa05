//! Predictions by size: a cell whose own box is small is negative (50), a large one positive (51).
//!
//! As plain as an algorithm can be and yet whole: it reads a unit's frozen input, looks whether it should stop, reports
//! how far it is, leaves a bad input out, and writes the output that a prediction's results are made of.

use cellmill_worker::core::boxes::BBox;
use cellmill_worker::core::formats::{InputCell, PredictedCell, ProjectInput};
use cellmill_worker::core::job::JobParameters;
use cellmill_worker::core::keys::{JobKind, ObjectKey, ProjectFile, ProjectFolder};
use cellmill_worker::{Algorithm, Context, Failure, Outcome, Unit, async_trait};

/// The class of small cells and that of large ones.
const CLASSES: [u32; 2] = [50, 51];
/// Cells between two looks at the world.
const CELLS_AT_ONCE: usize = 500;

/// Tells cells apart by the area of their box.
#[derive(Clone, Copy, Debug)]
pub struct BySize {
    /// From this area on, in pixels, a cell is large.
    pub area: u64,
}

#[async_trait]
impl Algorithm for BySize {
    fn kinds(&self) -> &[JobKind] {
        &[JobKind::Predict]
    }

    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
        let JobParameters::Predict(parameters) = &unit.job.parameters else {
            return Err(refuse("this job is no prediction".to_owned()));
        };
        let input = read(unit, context).await?;
        let mut lines = Vec::new();
        for (n, cells) in input.cells.chunks(CELLS_AT_ONCE).enumerate() {
            context.check_stop()?;
            for cell in cells {
                let Some(kernel) = cell.kernel else {
                    context.rejected(&cell.name, "no_box", "nobody said how large it is");
                    continue;
                };
                let answer = self.answer(kernel);
                let truth = if parameters.is_labelled {
                    cell.class
                } else {
                    answer.0
                };
                let cell = predicted(unit, &input, cell, truth, answer);
                let line = serde_json::to_string(&cell);
                lines.push(
                    line.map_err(|error| Failure::permanent("could not write a cell", error))?,
                );
            }
            let done = (n + 1) * CELLS_AT_ONCE;
            let percent = 100.0 * done as f64 / input.cells.len() as f64;
            context.report(percent, &format!("cell {done} of {}", input.cells.len()));
        }
        context.info(&format!("{} cells answered", lines.len()));
        let cells = context
            .write_output("cells", "cells.jsonl", lines.join("\n") + "\n")
            .await?;
        Ok(Outcome {
            outputs: vec![cells],
        })
    }
}

impl BySize {
    /// Class and certainty: the further from the limit, the more certain.
    fn answer(self, kernel: BBox) -> (u32, f64) {
        let area = u64::from(kernel.x2 - kernel.x1) * u64::from(kernel.y2 - kernel.y1);
        let share = area as f64 / (area + self.area) as f64;
        (
            CLASSES[usize::from(area >= self.area)],
            share.max(1.0 - share),
        )
    }
}

/// The piece of the frozen cells that this unit is.
async fn read(unit: &Unit, context: &Context) -> Result<ProjectInput, Failure> {
    let file = ProjectFile::Input {
        piece: unit.key.unit,
    };
    let key = ObjectKey::Project(unit.key.dir.clone(), file);
    let read = context.store().read_json::<ProjectInput>(&key).await;
    let read = read.map_err(|error| Failure::of_store(format!("could not read `{key}`"), error))?;
    let found = read.map(|it| it.value);
    found.ok_or_else(|| refuse(format!("`{key}` is not there")))
}

fn predicted(
    unit: &Unit,
    input: &ProjectInput,
    cell: &InputCell,
    truth: u32,
    answer: (u32, f64),
) -> PredictedCell {
    let copy = ProjectFile::Cell {
        folder: ProjectFolder::Predict,
        class: cell.class,
        name: cell.name.clone(),
    };
    PredictedCell {
        predict: answer.0,
        true_type: truth,
        url: ObjectKey::Project(unit.key.dir.clone(), copy).to_path(),
        score: Some((answer.1 * 100.0).round() / 100.0),
        probability: Some(answer.1),
        crop: Some(cell.crop),
        imgid: input.images.get(cell.image as usize).map(|it| it.imgid),
    }
}

/// What no attempt can do.
fn refuse(what: String) -> Failure {
    Failure::Permanent { what, source: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use cellmill_worker::core::ids::Dir;
    use cellmill_worker::core::job::{JobEvent, JobRecord};
    use cellmill_worker::core::keys::UnitKey;
    use cellmill_worker::core::messages::UnitClass;
    use cellmill_worker::core::training::PredictParameters;
    use cellmill_worker::core::unit::{UnitRecord, UnitState};
    use cellmill_worker::queue::{MemoryQueue, Queue, hints};
    use cellmill_worker::store::{Put, Store};
    use cellmill_worker::{CancellationToken, Options, Parts, WorkerLoop, fresh_id};

    use super::*;

    fn input() -> ProjectInput {
        let cell = |name: &str, side: Option<u32>| InputCell {
            name: name.to_owned(),
            pack: 0,
            image: 0,
            class: 7,
            crop: BBox::new(0, 0, 100, 100),
            kernel: side.map(|it| BBox::new(0, 0, it, it)),
        };
        ProjectInput {
            v: 1,
            cells: vec![
                cell("a.png", Some(10)),
                cell("b.png", None),
                cell("c.png", Some(60)),
            ],
            ..ProjectInput::default()
        }
    }

    /// A store with a prediction whose one unit waits for workers of the class `sizes`.
    async fn waiting() -> (Store, JobRecord) {
        let (store, dir) = (Store::memory(), Dir::parse("ek1roy1R").unwrap());
        let parameters = JobParameters::Predict(PredictParameters {
            ddir: Dir::parse("DkxD9Kjl").unwrap(),
            did: 1,
            mid: 100,
            types: Vec::new(),
            is_labelled: true,
            binary: true,
            target_recall: None,
            min_side: None,
            filter_mid: None,
        });
        let class = UnitClass::parse("sizes").unwrap();
        let job = JobRecord::accepted(
            dir.clone(),
            1,
            parameters,
            class,
            "me".to_owned(),
            store.now(),
        );
        let assembled = JobEvent::Assembled {
            units: 1,
            snapshot: "s".to_owned(),
        };
        let (job, _) = job.apply(assembled, 64, store.now()).unwrap().unwrap();
        store
            .create(&ObjectKey::job(job.kind, &dir), job.clone())
            .await
            .unwrap();
        let key = ObjectKey::Project(dir, ProjectFile::Input { piece: 0 });
        store
            .put_bytes(&key, input().to_bytes(), Put::Create)
            .await
            .unwrap();
        (store, job)
    }

    fn unit_of(job: &JobRecord) -> UnitKey {
        UnitKey {
            dir: job.dir.clone(),
            kind: job.kind,
            unit: 0,
        }
    }

    #[tokio::test]
    async fn small_cells_are_told_from_large_ones() {
        let (store, job) = waiting().await;
        let unit = Unit {
            key: unit_of(&job),
            attempt: 1,
            job,
            checkpoints: Vec::new(),
        };
        let mut context = Context::unsupervised(store.clone(), &unit);
        let outcome = BySize { area: 1000 }
            .run(&unit, &mut context)
            .await
            .unwrap();
        let bytes = store.get_bytes(&outcome.outputs[0].key).await.unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        let cells: Vec<PredictedCell> = lines.map(|it| serde_json::from_str(it).unwrap()).collect();
        let answers: Vec<_> = cells.iter().map(|it| (it.true_type, it.predict)).collect();
        assert_eq!(answers, [(7, 50), (7, 51)]);
        assert_eq!(context.rejected_inputs()[0].key, "b.png");
    }

    #[tokio::test]
    async fn the_loop_claims_runs_and_commits_it() {
        let (store, job) = waiting().await;
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::default());
        hints::send_units(&*queue, &job, &[0]).await.unwrap();
        let parts = Parts {
            store: store.clone(),
            queue,
        };
        let options = Options {
            classes: vec![job.class.clone()],
            ..Options::new(fresh_id("sizes"))
        };
        let algorithm: Arc<dyn Algorithm> = Arc::new(BySize { area: 1000 });
        let worker = WorkerLoop::new(parts, vec![algorithm], options).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(worker.run(shutdown.clone()));
        let key = ObjectKey::Unit(unit_of(&job));
        let committed = async {
            loop {
                let unit = store.read::<UnitRecord>(&key).await.unwrap();
                match unit.filter(|it| it.value.state == UnitState::Done) {
                    Some(unit) => return unit.value,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let unit = tokio::time::timeout(Duration::from_secs(30), committed)
            .await
            .unwrap();
        let roles: Vec<&str> = unit.outputs.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(roles, ["cells", "log"]);
        assert_eq!(unit.rejected.len(), 1);
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }
}
