//! The result files of a prediction.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cellmill_core::classes::KnownClasses;
use cellmill_core::formats::{
    ClassResult, LabelRow, ListStream, PredictResult, PredictedCell, ProjectKeys, write_labels,
};
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{ObjectKey, ProjectFile, ProjectFolder};
use cellmill_core::metrics::Confusion;
use cellmill_core::training::PredictParameters;
use cellmill_core::unit::UnitRecord;
use cellmill_store::{ObjectWriter, Put, Store};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::outputs::{SIGN_OF_LIFE, bad, committed, output, read_output, show_progress};
use crate::{Collect, Error, failed};

/// Cells of one part of predict2.json.
const CELLS_PER_PART: u64 = 1_000_000;
/// Images and cells listed in the report, of those that were left out; the log has them all.
const MAX_REJECTED_LISTED: usize = 100;
/// What the filters say: not a cell, and too small for one.
const NO_CELL: [u32; 2] = [200, 201];

/// Writes all files and returns the job's result and report.
///
/// The cells are read twice: their counts stand behind them in the file, and are needed when it begins.
pub(crate) async fn write(
    collect: &Collect,
    job: &JobRecord,
    parameters: &PredictParameters,
) -> Result<(Value, Option<Value>), Error> {
    let store = &collect.store;
    let mut counts = Counts::default();
    let mut shown = Instant::now();
    for number in 0..job.units.count {
        let unit = committed(store, job, number).await?;
        for cell in cells(store, job, &unit).await? {
            counts.add(&cell);
        }
        counts.add_unit(&unit);
        alive(collect, job, number, &mut shown).await?;
    }
    let result = counts.result(parameters.is_labelled);
    let mut files = Files::begin(store, job, &result).map_err(|it| failed(&job.dir, it))?;
    for number in 0..job.units.count {
        let unit = committed(store, job, number).await?;
        let cells = cells(store, job, &unit).await?;
        files
            .append(store, &cells)
            .await
            .map_err(|it| failed(&job.dir, it))?;
        if let Some(text) = output(&unit, "log") {
            let bytes = read_output(store, job, text).await?;
            files
                .log
                .write(&bytes)
                .await
                .map_err(|it| failed(&job.dir, it))?;
        }
        alive(collect, job, number, &mut shown).await?;
    }
    files.finish().await.map_err(|it| failed(&job.dir, it))?;
    let classes = store
        .known_classes()
        .await
        .map_err(|it| failed(&job.dir, it))?;
    let report = counts.report(parameters, &classes);
    Ok((json!(result), Some(report)))
}

async fn alive(
    collect: &Collect,
    job: &JobRecord,
    unit: u32,
    shown: &mut Instant,
) -> Result<(), Error> {
    if shown.elapsed() > SIGN_OF_LIFE {
        show_progress(collect, job, "predictions", unit).await?;
        *shown = Instant::now();
    }
    Ok(())
}

/// The cells that a unit predicted.
async fn cells(
    store: &Store,
    job: &JobRecord,
    unit: &UnitRecord,
) -> Result<Vec<PredictedCell>, Error> {
    let found = output(unit, "cells")
        .ok_or_else(|| bad(job, "cells", "the commit of a unit names no such output"))?;
    let bytes: Bytes = read_output(store, job, found).await?;
    let lines = bytes.split(|&it| it == b'\n').filter(|it| !it.is_empty());
    lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(job, &found.key, &cellmill_service::report(&error)))
}

/// What is counted on the way.
#[derive(Default)]
struct Counts {
    /// By truth and prediction.
    cells: BTreeMap<(u32, u32), u64>,
    rejected: Vec<Value>,
    n_rejected: u64,
}

impl Counts {
    fn add(&mut self, cell: &PredictedCell) {
        *self
            .cells
            .entry((cell.true_type, cell.predict))
            .or_default() += 1;
    }

    fn add_unit(&mut self, unit: &UnitRecord) {
        self.n_rejected += unit.rejected.len() as u64;
        let room = MAX_REJECTED_LISTED.saturating_sub(self.rejected.len());
        let listed = unit.rejected.iter().take(room);
        self.rejected.extend(listed.map(|it| json!(it)));
    }

    /// The legacy result: by true class where the truth is known, else by predicted class.
    fn result(&self, is_labelled: bool) -> Vec<ClassResult> {
        let mut classes = BTreeMap::<u32, (u64, u64)>::new();
        for (&(truth, predicted), &n) in &self.cells {
            let (total, correct) = classes
                .entry(if is_labelled { truth } else { predicted })
                .or_default();
            *total += n;
            *correct += if !is_labelled || truth == predicted {
                n
            } else {
                0
            };
        }
        let class = |(class, (total, correct))| ClassResult {
            class,
            total,
            correct,
        };
        classes.into_iter().map(class).collect()
    }

    fn report(&self, parameters: &PredictParameters, known: &KnownClasses) -> Value {
        let is_filtered = |class: u32| NO_CELL.contains(&class);
        let n: u64 = self.cells.values().sum();
        let filtered = self.cells.iter().filter(|((_, it), _)| is_filtered(*it));
        let predicted = self.cells.iter().fold(BTreeMap::new(), |mut counts, it| {
            *counts.entry(it.0.1.to_string()).or_insert(0) += it.1;
            counts
        });
        let mut report = json!({
            "mid": parameters.mid,
            "n": n,
            "n_filtered": filtered.map(|(_, n)| n).sum::<u64>(),
            "predicted": predicted,
            "n_rejected": self.n_rejected,
            "rejected": self.rejected,
        });
        if parameters.is_labelled {
            let seen = self.cells.keys().flat_map(|&(truth, it)| [truth, it]);
            let ids: Vec<u32> = seen.collect::<BTreeSet<_>>().into_iter().collect();
            let at = |class| ids.binary_search(&class).unwrap_or_default();
            let mut confusion = Confusion::new(ids.len());
            for (&(truth, predicted), &n) in &self.cells {
                confusion.add_times(at(truth), at(predicted), n);
            }
            let class = |&id: &u32| json!({ "id": id, "name": known.name(id) });
            report["classes"] = ids.iter().map(class).collect();
            report["figures"] = json!(cellmill_core::model::Measured::of(&confusion, None));
        }
        report
    }
}

/// predict2.json and its further parts, `predict_labels.csv`, log.txt: written as streams.
struct Files {
    job: JobRecord,
    document: PredictResult,
    part: u32,
    n_in_part: u64,
    cells: ObjectWriter,
    list: ListStream,
    labels: ObjectWriter,
    log: ObjectWriter,
}

fn writer(
    store: &Store,
    job: &JobRecord,
    file: ProjectFile,
) -> Result<ObjectWriter, cellmill_store::Error> {
    store.writer(&ObjectKey::Project(job.dir.clone(), file), Put::Overwrite)
}

impl Files {
    fn begin(
        store: &Store,
        job: &JobRecord,
        result: &[ClassResult],
    ) -> Result<Self, cellmill_store::Error> {
        let keys = job.project.clone().unwrap_or_else(|| ProjectKeys {
            id: job.number,
            ..ProjectKeys::default()
        });
        let document = PredictResult {
            project: keys.info(job.dir.as_str()),
            crop_cells: Vec::new(),
            result: result.to_vec(),
        };
        let (list, _) = open_list(&document);
        Ok(Self {
            cells: writer(store, job, ProjectFile::Predict2 { part: 0 })?,
            labels: writer(store, job, ProjectFile::Labels(ProjectFolder::Predict))?,
            log: writer(store, job, ProjectFile::Log)?,
            job: job.clone(),
            document,
            part: 0,
            n_in_part: 0,
            list,
        })
    }

    async fn append(
        &mut self,
        store: &Store,
        cells: &[PredictedCell],
    ) -> Result<(), cellmill_store::Error> {
        if self.n_in_part > 0 && self.n_in_part + cells.len() as u64 > CELLS_PER_PART {
            self.part += 1;
            let next = writer(store, &self.job, ProjectFile::Predict2 { part: self.part })?;
            let (list, _) = open_list(&self.document);
            let before = std::mem::replace(&mut self.list, list);
            let full = std::mem::replace(&mut self.cells, next);
            close(before, full).await?;
            self.n_in_part = 0;
        }
        let mut out = Vec::new();
        if self.cells.written() == 0 {
            out = open_list(&self.document).1;
        }
        for cell in cells {
            self.list.item(cell, &mut out);
        }
        self.n_in_part += cells.len() as u64;
        self.cells.write(&out).await?;
        let rows: Vec<LabelRow> = cells.iter().filter_map(label_row).collect();
        let table = write_labels(&rows);
        let is_first = self.labels.written() == 0;
        let body = table
            .iter()
            .position(|&it| it == b'\n')
            .map_or(0, |at| at + 1);
        self.labels
            .write(&table[if is_first { 0 } else { body }..])
            .await
    }

    async fn finish(mut self) -> Result<(), cellmill_store::Error> {
        if self.cells.written() == 0 {
            let head = open_list(&self.document).1;
            self.cells.write(&head).await?;
            self.labels.write(&write_labels([])).await?;
        }
        close(self.list, self.cells).await?;
        self.labels.finish().await?;
        self.log.finish().await.map(drop)
    }
}

/// The list of cells of the document, and the bytes before it.
fn open_list(document: &PredictResult) -> (ListStream, Vec<u8>) {
    let mut head = Vec::new();
    let list = ListStream::begin(document, "crop_cells", &mut head)
        .expect("the document has an empty list of this name");
    (list, head)
}

async fn close(list: ListStream, mut file: ObjectWriter) -> Result<(), cellmill_store::Error> {
    let mut tail = Vec::new();
    list.end(&mut tail);
    file.write(&tail).await?;
    file.finish().await.map(drop)
}

/// `<class>/<file>` as the cell's picture lies in the project.
fn label_row(cell: &PredictedCell) -> Option<LabelRow> {
    let (folder, file) = cell.url.rsplit_once('/')?;
    let (_, class) = folder.rsplit_once('/')?;
    Some(LabelRow {
        file: format!("{class}/{file}"),
        label: class.parse().ok()?,
    })
}
