//! The result files of a data set: cellslist.csv, packs.json, log.txt, info2.json, info.json.

use std::collections::BTreeSet;

use cellmill_core::classes::KnownClasses;
use cellmill_core::formats::{
    CellsList, CellsListRow, DatasetCounts, DatasetInfo, Indent, to_json,
};
use cellmill_core::job::{DataParameters, JobRecord};
use cellmill_core::keys::{DatasetFile, ObjectKey};
use cellmill_core::records::{PackEntry, PackList};
use cellmill_core::snapshot::{LeftOut, Snapshot};
use cellmill_core::unit::{Output, RejectedInput, UnitRecord};
use cellmill_store::{ObjectWriter, Put, Store};
use tokio::time::Instant;

use crate::outputs::{SIGN_OF_LIFE, bad, committed, output, read_output, show_progress};
use crate::{Collect, Error, failed, legacy};

/// Rows of one part of cellslist.csv.
const ROWS_PER_PART: u64 = 1_000_000;
/// Images listed in the job's result, of those rejected and of those left out; the log has them all.
const MAX_REJECTED_LISTED: usize = 100;

/// Writes all files and returns the job's result.
pub(crate) async fn write(
    collect: &Collect,
    job: &JobRecord,
    parameters: &DataParameters,
) -> Result<serde_json::Value, Error> {
    let store = &collect.store;
    let classes = store
        .known_classes()
        .await
        .map_err(|it| failed(&job.dir, it))?;
    let mut table = Table::begin(store, job).map_err(|it| failed(&job.dir, it))?;
    let mut log = writer(store, job, DatasetFile::Log).map_err(|it| failed(&job.dir, it))?;
    let mut gathered = Gathered {
        left_out: left_out(store, job)
            .await
            .map_err(|it| failed(&job.dir, it))?,
        ..Gathered::default()
    };
    for it in &gathered.left_out {
        let line = format!("left out {}: {}\n", it.key, it.reason);
        log.write(line.as_bytes())
            .await
            .map_err(|it| failed(&job.dir, it))?;
    }
    let mut shown = Instant::now();
    for number in 0..job.units.count {
        let unit = committed(store, job, number).await?;
        if let Some(rows) = output(&unit, "rows") {
            let bytes = read_output(store, job, rows).await?;
            let rows = read_rows(job, rows, &bytes)?;
            table
                .append(store, job, &bytes, rows.len() as u64)
                .await
                .map_err(|it| failed(&job.dir, it))?;
            gathered.add_rows(&rows, &classes);
        }
        if let Some(text) = output(&unit, "log") {
            let bytes = read_output(store, job, text).await?;
            log.write(&bytes).await.map_err(|it| failed(&job.dir, it))?;
        }
        gathered.add_unit(&unit);
        if job.class.is_legacy() {
            gathered.packs = legacy::packs(collect, job, &gathered.cells).await?;
            gathered.told = legacy::told(store, job, &unit).await?;
        }
        if shown.elapsed() > SIGN_OF_LIFE {
            show_progress(collect, job, "cells", number).await?;
            shown = Instant::now();
        }
    }
    table.finish().await.map_err(|it| failed(&job.dir, it))?;
    log.finish().await.map_err(|it| failed(&job.dir, it))?;
    let files = gathered.files(job, parameters);
    for (file, bytes) in [
        (DatasetFile::Packs, files.packs),
        (DatasetFile::Info2, files.info2),
        (DatasetFile::Info, files.info),
    ] {
        let key = ObjectKey::Dataset(job.dir.clone(), file);
        store
            .put_bytes(&key, bytes, Put::Overwrite)
            .await
            .map_err(|it| failed(&job.dir, it))?;
    }
    Ok(gathered.result())
}

/// Images of the chosen cases that take no part, as the frozen snapshot names them.
async fn left_out(store: &Store, job: &JobRecord) -> Result<Vec<LeftOut>, cellmill_store::Error> {
    let key = ObjectKey::Dataset(job.dir.clone(), DatasetFile::Snapshot);
    let snapshot = store.read_json::<Snapshot>(&key).await?;
    Ok(snapshot.map(|it| it.value.left_out).unwrap_or_default())
}

fn writer(
    store: &Store,
    job: &JobRecord,
    file: DatasetFile,
) -> Result<ObjectWriter, cellmill_store::Error> {
    store.writer(&ObjectKey::Dataset(job.dir.clone(), file), Put::Overwrite)
}

fn read_rows(job: &JobRecord, output: &Output, bytes: &[u8]) -> Result<Vec<CellsListRow>, Error> {
    let read = CellsList::new(bytes).and_then(Iterator::collect::<Result<_, _>>);
    read.map_err(|error| bad(job, &output.key, &cellmill_service::report(&error)))
}

/// cellslist.csv and its further parts, written as a stream.
struct Table {
    writer: ObjectWriter,
    part: u32,
    n_rows: u64,
}

impl Table {
    fn begin(store: &Store, job: &JobRecord) -> Result<Self, cellmill_store::Error> {
        Ok(Self {
            writer: writer(store, job, DatasetFile::CellsList { part: 0 })?,
            part: 0,
            n_rows: 0,
        })
    }

    /// Appends a unit's table; its header is kept only where a part begins.
    async fn append(
        &mut self,
        store: &Store,
        job: &JobRecord,
        table: &[u8],
        n_rows: u64,
    ) -> Result<(), cellmill_store::Error> {
        if self.n_rows > 0 && self.n_rows + n_rows > ROWS_PER_PART {
            self.part += 1;
            let next = writer(store, job, DatasetFile::CellsList { part: self.part })?;
            std::mem::replace(&mut self.writer, next).finish().await?;
            self.n_rows = 0;
        }
        let body = table
            .iter()
            .position(|&it| it == b'\n')
            .map_or(table.len(), |end| end + 1);
        if self.writer.written() == 0 {
            self.writer.write(&table[..body]).await?;
        }
        self.n_rows += n_rows;
        self.writer.write(&table[body..]).await
    }

    async fn finish(mut self) -> Result<(), cellmill_store::Error> {
        if self.writer.written() == 0 {
            let mut header = Vec::new();
            CellsListRow::write_header(&mut header);
            self.writer.write(&header).await?;
        }
        self.writer.finish().await.map(drop)
    }
}

/// What is counted on the way.
#[derive(Default)]
struct Gathered {
    counts: DatasetCounts,
    cells: BTreeSet<String>,
    packs: Vec<PackEntry>,
    rejected: Vec<RejectedInput>,
    n_rejected: u64,
    left_out: Vec<LeftOut>,
    n_rows: u64,
    n_duplicates: u64,
    /// Of a legacy job: what its worker's own info2.json says beside the counts.
    told: Option<DatasetInfo>,
}

struct Files {
    packs: Vec<u8>,
    info: Vec<u8>,
    info2: Vec<u8>,
}

impl Gathered {
    fn add_rows(&mut self, rows: &[CellsListRow], classes: &KnownClasses) {
        for row in rows {
            self.counts.add(row, classes.polarity(row.celltype));
            self.n_rows += 1;
            self.n_duplicates += u64::from(row.duplicate);
            // Beyond one part's rows the list would be larger than any reader of info2.json can take;
            // cellslist.csv names them all.
            if self.n_rows <= ROWS_PER_PART {
                self.cells.insert(row.cellpath.clone());
            }
        }
    }

    fn add_unit(&mut self, unit: &UnitRecord) {
        // A unit with many cells leaves several packs, one without cells none.
        let packs = unit.outputs.iter().filter(|it| it.name == "pack");
        self.packs.extend(packs.map(|it| PackEntry {
            unit: unit.key.unit,
            key: it.key.clone(),
            bytes: it.bytes,
            sha256: it.sha256.clone(),
        }));
        self.n_rejected += unit.rejected.len() as u64;
        let room = MAX_REJECTED_LISTED.saturating_sub(self.rejected.len());
        self.rejected
            .extend(unit.rejected.iter().take(room).cloned());
    }

    fn files(&self, job: &JobRecord, parameters: &DataParameters) -> Files {
        let mut info = DatasetInfo::of_job(job, parameters);
        info.status = 2;
        if let Some(told) = &self.told {
            info.modpath.clone_from(&told.modpath);
            info.extra.clone_from(&told.extra);
        }
        self.counts.fill(&mut info);
        info.origin_imgs = self.counts.images().map(str::to_owned).collect();
        info.cells_crop = self.cells.iter().cloned().collect();
        info.origin_total = info.origin_imgs.len() as u64;
        info.cells_total = info.cells_crop.len() as u64;
        let packs = PackList {
            v: 1,
            packs: self.packs.clone(),
        };
        Files {
            packs: to_json(&packs, Indent::Two),
            info2: to_json(&info, Indent::Two),
            info: to_json(&info.without_lists(), Indent::One),
        }
    }

    fn result(&self) -> serde_json::Value {
        serde_json::json!({
            "rows": self.n_rows,
            "duplicates": self.n_duplicates,
            "images": self.counts.images().count(),
            "types": self.counts.types(),
            "packs": self.packs.len(),
            "n_rejected": self.n_rejected,
            "rejected": self.rejected,
            "n_left_out": self.left_out.len(),
            "left_out": self.left_out.iter().take(MAX_REJECTED_LISTED).collect::<Vec<_>>(),
        })
    }
}
