//! Trainings and predictions: the chosen cells of a data set, frozen piece by piece.
//!
//! A data set that is done never changes, so its table can be read again at any time and gives the same pieces; they
//! are frozen for the workers, who read one piece instead of the whole table, and know at once which pack holds a cell.

mod packs;
mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use cellmill_core::formats::{
    CellImage, CellsListRow, ClassCount, Indent, InputCell, InputPack, ProjectInput, ProjectKeys,
    ProjectList, ProjectLists, to_json,
};
use cellmill_core::ids::Dir;
use cellmill_core::job::{Cursor, JobEvent, JobParameters, JobRecord, JobState};
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey, ProjectFile};
use cellmill_core::snapshot::{Snapshot, SnapshotImage};
use cellmill_store::{Put, Store};
use tokio::time::Instant;

use self::packs::Packs;
use self::rows::Rows;
use crate::{Assemble, Error, failed};

/// Cells of one piece: what a prediction's unit works on in about 2 minutes at most, and a document of some MB.
const CELLS_PER_PIECE: usize = 5000;
/// The job is swapped at least this often, as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// Freezes a project's input and lets its units out; a data set that is still being made is waited for.
pub(crate) async fn assemble(
    assemble: &Assemble,
    job: &JobRecord,
    ddir: &Dir,
) -> Result<(), Error> {
    let store = &assemble.store;
    let snapshot = match data_set(store, job, ddir).await? {
        DataSet::Done { snapshot } => snapshot,
        DataSet::OnItsWay(state) => {
            let cursor = Cursor {
                step: format!("waits for data set {ddir}, which is {}", words(state)),
                at: 0,
                of: 0,
            };
            return assemble.progressed(job, cursor).await.map(drop);
        }
    };
    let chosen = Chosen::of(job);
    let Some(frozen) = freeze(assemble, job, ddir, &chosen).await? else {
        return Ok(());
    };
    chosen.check(ddir, &frozen.classes)?;
    describe(store, job, ddir, &snapshot, &frozen)
        .await
        .map_err(|it| failed(&job.dir, it))?;
    let units = match job.kind {
        JobKind::Train => 1,
        // Handed out whole; its worker reads the data set's table itself.
        _ if job.class.is_legacy() => 1,
        _ => frozen.n_pieces,
    };
    assemble
        .apply(job, JobEvent::Assembled { units, snapshot })
        .await
}

enum DataSet {
    Done { snapshot: String },
    OnItsWay(JobState),
}

async fn data_set(store: &Store, job: &JobRecord, ddir: &Dir) -> Result<DataSet, Error> {
    let unusable = |reason: String| Err(Error::Unusable { reason });
    let read = store
        .read_job(JobKind::Data, ddir)
        .await
        .map_err(|it| failed(&job.dir, it))?;
    let Some(data) = read.map(|it| it.value) else {
        return unusable(format!("there is no data set `{ddir}`"));
    };
    match data.state {
        JobState::Done => Ok(DataSet::Done {
            snapshot: data.snapshot.unwrap_or_default(),
        }),
        JobState::Failed => unusable(format!(
            "data set `{ddir}` failed: {}",
            data.error.as_deref().unwrap_or("no reason was noted")
        )),
        JobState::Cancelled => unusable(format!("data set `{ddir}` was cancelled")),
        state => Ok(DataSet::OnItsWay(state)),
    }
}

fn words(state: JobState) -> &'static str {
    match state {
        JobState::Assembling => "being assembled",
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Collecting => "being collected",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

/// Which cells take part.
struct Chosen {
    /// `None`: all classes.
    classes: Option<BTreeSet<u32>>,
    /// Of a training: each class of the data set as one that is told apart.
    counts_as: BTreeMap<u32, usize>,
    /// Fewer classes teach nothing; 0 for a prediction.
    least_classes: usize,
}

impl Chosen {
    fn of(job: &JobRecord) -> Self {
        let (classes, counts_as) = match &job.parameters {
            JobParameters::Train(it) => {
                let classes = it.source_classes();
                let counts_as = classes
                    .iter()
                    .filter_map(|&class| Some((class, it.class_of(class)?)));
                (classes.clone(), counts_as.collect())
            }
            JobParameters::Predict(it) => (it.types.clone(), BTreeMap::new()),
            JobParameters::Data(_) => (Vec::new(), BTreeMap::new()),
        };
        Self {
            classes: (!classes.is_empty()).then(|| classes.into_iter().collect()),
            counts_as,
            least_classes: match &job.parameters {
                JobParameters::Train(it) if it.detector.is_some() => 1,
                JobParameters::Train(_) => 2,
                JobParameters::Data(_) | JobParameters::Predict(_) => 0,
            },
        }
    }

    fn takes(&self, row: &CellsListRow) -> bool {
        let is_chosen = |it: &BTreeSet<u32>| it.contains(&row.celltype);
        !row.duplicate && self.classes.as_ref().is_none_or(is_chosen)
    }

    /// Is there enough to work on?
    fn check(&self, ddir: &Dir, found: &BTreeMap<u32, u64>) -> Result<(), Error> {
        let unusable = |reason: String| Err(Error::Unusable { reason });
        let listed = if found.is_empty() {
            "none".to_owned()
        } else {
            let counts = found
                .iter()
                .map(|(class, n)| format!("{n} of class {class}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        if found.is_empty() {
            return unusable(format!(
                "data set `{ddir}` has no cells of the chosen classes; look with `cellmill dataset show {ddir}` what it has"
            ));
        }
        let told_apart: BTreeSet<usize> = found
            .keys()
            .filter_map(|it| self.counts_as.get(it).copied())
            .collect();
        if told_apart.len() < self.least_classes {
            let least = self.least_classes;
            return unusable(format!(
                "a training needs cells of at least {least} classes; data set `{ddir}` has {listed} among those chosen"
            ));
        }
        Ok(())
    }
}

/// What was frozen.
#[derive(Default)]
struct Frozen {
    n_pieces: u32,
    /// Cells per class of the data set.
    classes: BTreeMap<u32, u64>,
    n_images: u64,
}

/// `None`: the job is not being assembled any more.
async fn freeze(
    assemble: &Assemble,
    job: &JobRecord,
    ddir: &Dir,
    chosen: &Chosen,
) -> Result<Option<Frozen>, Error> {
    let store = &assemble.store;
    let lost = |it| failed(&job.dir, it);
    let images = images(store, ddir).await.map_err(lost)?;
    let mut packs = Packs::open(store, ddir).await?;
    let mut rows = Rows::open(ddir);
    let mut piece = Piece::default();
    let mut frozen = Frozen {
        n_images: images.len() as u64,
        ..Frozen::default()
    };
    let mut shown = Instant::now();
    while let Some(read) = rows.next(store).await? {
        for row in read.iter().filter(|it| chosen.takes(it)) {
            let Some(name) = row.cellpath.rsplit('/').next().filter(|it| !it.is_empty()) else {
                continue;
            };
            let pack = packs.holding(store, name).await?;
            piece.add(row, name, pack, &images);
            *frozen.classes.entry(row.celltype).or_default() += 1;
            if piece.input.cells.len() == CELLS_PER_PIECE {
                write(store, job, &mut piece, &mut frozen)
                    .await
                    .map_err(lost)?;
            }
        }
        if shown.elapsed() > SIGN_OF_LIFE {
            let cursor = Cursor {
                step: "cells".to_owned(),
                at: frozen.classes.values().sum(),
                of: 0,
            };
            if !assemble.progressed(job, cursor).await? {
                return Ok(None);
            }
            shown = Instant::now();
        }
    }
    if !piece.input.cells.is_empty() {
        write(store, job, &mut piece, &mut frozen)
            .await
            .map_err(lost)?;
    }
    Ok(Some(frozen))
}

async fn write(
    store: &Store,
    job: &JobRecord,
    piece: &mut Piece,
    frozen: &mut Frozen,
) -> Result<(), cellmill_store::Error> {
    let mut input = std::mem::take(piece).input;
    input.v = ProjectInput::VERSION;
    input.piece = frozen.n_pieces;
    let key = ObjectKey::Project(
        job.dir.clone(),
        ProjectFile::Input {
            piece: frozen.n_pieces,
        },
    );
    // A second run writes the same bytes: the table that they come from does not change.
    store.put_bytes(&key, input.to_bytes(), Put::IfSame).await?;
    frozen.n_pieces += 1;
    Ok(())
}

/// A piece that is being filled.
#[derive(Default)]
struct Piece {
    input: ProjectInput,
    packs: HashMap<String, u32>,
    images: HashMap<String, u32>,
}

impl Piece {
    fn add(
        &mut self,
        row: &CellsListRow,
        name: &str,
        pack: InputPack,
        known: &HashMap<String, SnapshotImage>,
    ) {
        let path = row.imgpath.clone().unwrap_or_default();
        let (input, packs) = (&mut self.input, &mut self.packs);
        let pack = *packs.entry(pack.key.clone()).or_insert_with(|| {
            input.packs.push(pack);
            (input.packs.len() - 1) as u32
        });
        let image = *self.images.entry(path.clone()).or_insert_with(|| {
            let snapshot = known.get(&path);
            input.images.push(CellImage {
                key: path.clone(),
                imgid: row
                    .imgid
                    .or(snapshot.map(|it| it.imgid))
                    .unwrap_or_default(),
                sha256: snapshot.map(|it| it.sha256.clone()).unwrap_or_default(),
                batch: row.batchid.clone(),
                case: row.medicalid.clone(),
                part: snapshot.and_then(|it| it.part),
            });
            (input.images.len() - 1) as u32
        });
        input.cells.push(InputCell {
            name: name.to_owned(),
            pack,
            image,
            class: row.celltype,
            crop: row.crop,
            kernel: row.kernel,
        });
    }
}

/// The data set's images by key.
async fn images(
    store: &Store,
    ddir: &Dir,
) -> Result<HashMap<String, SnapshotImage>, cellmill_store::Error> {
    let key = ObjectKey::Dataset(ddir.clone(), DatasetFile::Snapshot);
    let snapshot = store.read_json::<Snapshot>(&key).await?;
    let images = snapshot.map(|it| it.value.images).unwrap_or_default();
    Ok(images.into_iter().map(|it| (it.key.clone(), it)).collect())
}

/// `info.json` and `lists.json`.
async fn describe(
    store: &Store,
    job: &JobRecord,
    ddir: &Dir,
    snapshot: &str,
    frozen: &Frozen,
) -> Result<(), cellmill_store::Error> {
    let project = job.project.clone().unwrap_or_else(|| ProjectKeys {
        id: job.number,
        ddir: ddir.to_string(),
        ..ProjectKeys::default()
    });
    let info = to_json(&project.info(job.dir.as_str()), Indent::One);
    let n_cells = frozen.classes.values().sum();
    let path = |file| ObjectKey::Dataset(ddir.clone(), file).to_path();
    let counts = frozen.classes.iter();
    let lists = ProjectLists {
        v: 1,
        dir: job.dir.to_string(),
        lists: cellmill_core::snapshot::SnapshotHash::parse(snapshot)
            .ok()
            .map(|snapshot| ProjectList {
                ddir: ddir.to_string(),
                snapshot,
                filelist: path(DatasetFile::FileList),
                cellslist: path(DatasetFile::CellsList { part: 0 }),
                images: frozen.n_images,
                cells: n_cells,
                // A project cuts nothing: all its cells lie in the data set's packs.
                cells_cached: n_cells,
                cells_cut: 0,
                types: counts
                    .map(|(&celltype, &labelcnt)| ClassCount { celltype, labelcnt })
                    .collect(),
            })
            .into_iter()
            .collect(),
    };
    let lists = to_json(&lists, Indent::Two);
    for (file, bytes) in [(ProjectFile::Info, info), (ProjectFile::Lists, lists)] {
        let key = ObjectKey::Project(job.dir.clone(), file);
        store.put_bytes(&key, bytes, Put::Overwrite).await?;
    }
    Ok(())
}
