//! Finding everything there is of a case.
//!
//! It reads the record of every image, as another case may share a thumbnail, and the snapshot of every data set. That
//! is slow for a large lab, and rare.

use std::collections::{BTreeMap, BTreeSet};

use cellmill_core::erase::{Case, Erasure};
use cellmill_core::ids::{Dir, PointsDate, UlidText};
use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{
    DatasetFile, ImageRoot, JobKind, ModelKind, ObjectKey, Prefix, ProjectFile,
};
use cellmill_core::records::ImageRecord;
use cellmill_core::uploads::UploadSession;
use cellmill_store::{Error, Store};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;

use super::{CaseSeen, Found, JobSeen};

/// Records read at once: each is one small read, so the wait for storage is what costs.
const PARALLEL_READS: usize = 32;

/// The kinds of jobs that a project's folder can hold.
const OF_PROJECTS: [JobKind; 3] = [JobKind::Train, JobKind::Predict, JobKind::Segment];

/// Finds everything there is of a case. Nothing is changed.
///
/// A document that can't be read ends it: nobody could say what it holds of the case.
pub async fn look(store: &Store, case: &Case) -> Result<CaseSeen, Error> {
    let mut seen = CaseSeen {
        own: own(store, case).await?,
        cached: cached(store, case).await?,
        uploads: uploads(store, case).await?,
        ..CaseSeen::default()
    };
    let tombstone = ObjectKey::Erasure(case.batch.clone(), case.case.clone());
    let tombstone = store.read::<Erasure>(&tombstone).await?;
    seen.tombstone = tombstone.map(|it| it.value);
    let datasets = datasets(store, case).await?;
    let dirs: BTreeSet<Dir> = datasets.iter().map(|it| it.dir.clone()).collect();
    let projects = projects(store, &dirs).await?;
    seen.models = models(store, &projects).await?;
    // What stands on a data set goes before it.
    for job in projects.iter().chain(&datasets) {
        seen.of_jobs.extend(of_job(store, job).await?);
    }
    // A folder with two jobs was listed for each.
    let mut known = BTreeSet::new();
    seen.of_jobs.retain(|it| known.insert(it.key.clone()));
    seen.jobs = datasets.into_iter().chain(projects).collect();
    Ok(seen)
}

async fn listed(store: &Store, prefix: &str) -> Result<Vec<Found>, Error> {
    store.list(prefix).map_ok(Found::from).try_collect().await
}

async fn own(store: &Store, case: &Case) -> Result<Vec<Found>, Error> {
    let folders = Prefix::folders_of_case(&case.batch, &case.case);
    let (images, rest) = folders.split_at(ImageRoot::ALL.len());
    let mut own = Vec::new();
    for folder in images {
        own.extend(listed(store, folder).await?);
    }
    own.extend(points(store, case).await?);
    for folder in rest {
        own.extend(listed(store, folder).await?);
    }
    Ok(own)
}

/// Points and their records lie by dates.
async fn points(store: &Store, case: &Case) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let batch = || case.batch.clone();
    for date in dates(store, &Prefix::PointsOfBatch(batch())).await? {
        let folder = Prefix::PointsOfCase(batch(), date, case.case.clone());
        found.extend(listed(store, &folder.to_path()).await?);
    }
    for date in dates(store, &Prefix::PointsRecordsOfBatch(batch())).await? {
        let folder = Prefix::PointsRecordsOfCase(batch(), date, case.case.clone());
        found.extend(listed(store, &folder.to_path()).await?);
    }
    Ok(found)
}

async fn dates(store: &Store, batch: &Prefix) -> Result<Vec<PointsDate>, Error> {
    let dirs = store.list_dirs(&batch.to_path()).await?;
    let last = |dir: &String| PointsDate::parse(dir.rsplit('/').next()?).ok();
    Ok(dirs.iter().filter_map(last).collect())
}

/// The thumbnails of the case that no other image has: they are named by content.
async fn cached(store: &Store, case: &Case) -> Result<Vec<Found>, Error> {
    let mut names = BTreeSet::new();
    for root in ImageRoot::ALL {
        let records = Prefix::ImageRecordsOfCase(root, case.batch.clone(), case.case.clone());
        for_each_thumbnail(store, &records, |_, name| {
            names.insert(name);
        })
        .await?;
    }
    for root in ImageRoot::ALL {
        if names.is_empty() {
            break;
        }
        for_each_thumbnail(store, &Prefix::ImageRecords(root), |record, name| {
            if !case.has_image(&record.key) {
                names.remove(&name);
            }
        })
        .await?;
    }
    let mut found = Vec::new();
    for name in names {
        let key = ObjectKey::Cache(name);
        if let Some(head) = store.head(&key).await? {
            found.push(Found {
                key: key.to_path(),
                bytes: head.size,
            });
        }
    }
    Ok(found)
}

async fn for_each_thumbnail(
    store: &Store,
    records: &Prefix,
    mut take: impl FnMut(&ImageRecord, String),
) -> Result<(), Error> {
    let mut records = store
        .list(&records.to_path())
        .map(|listed| async move { store.read::<ImageRecord>(&listed?.key).await })
        .buffered(PARALLEL_READS);
    while let Some(record) = records.try_next().await? {
        let Some(record) = record.map(|it| it.value) else {
            continue;
        };
        let name = record.picture.as_ref().and_then(|it| it.thumbnail.clone());
        if let Some(name) = name {
            take(&record, name);
        }
    }
    Ok(())
}

/// Uploads of its files that nobody has ended, with the parts that came.
async fn uploads(store: &Store, case: &Case) -> Result<Vec<(UlidText, Vec<Found>)>, Error> {
    let mut all: BTreeMap<UlidText, Vec<Found>> = BTreeMap::new();
    for found in listed(store, &Prefix::Uploads.to_path()).await? {
        if let Ok(Some(ObjectKey::Upload(id) | ObjectKey::UploadPart { upload: id, .. })) =
            ObjectKey::parse(&found.key)
        {
            all.entry(id).or_default().push(found);
        }
    }
    let mut of_case = Vec::new();
    for (id, found) in all {
        let session = store
            .read::<UploadSession>(&ObjectKey::Upload(id.clone()))
            .await?;
        let is_of_case = session.is_some_and(|it| match ObjectKey::parse(&it.value.key) {
            Ok(Some(ObjectKey::Image(key))) => case.has_image(&key),
            Ok(Some(ObjectKey::Points(key))) => case.has_points(&key),
            _ => false,
        });
        if is_of_case {
            of_case.push((id, found));
        }
    }
    Ok(of_case)
}

/// The images of a frozen input; the rest of it may be large.
#[derive(Deserialize)]
struct FrozenImages {
    images: Vec<FrozenImage>,
}

#[derive(Deserialize)]
struct FrozenImage {
    key: String,
}

async fn datasets(store: &Store, case: &Case) -> Result<Vec<JobSeen>, Error> {
    let mut found = Vec::new();
    for dir in dirs(store, &Prefix::Datasets).await? {
        let Some(job) = store.read_job(JobKind::Data, &dir).await? else {
            continue;
        };
        let JobParameters::Data(parameters) = &job.value.parameters else {
            continue;
        };
        let snapshot = ObjectKey::Dataset(dir, DatasetFile::Snapshot);
        let contains = match store.read_json::<FrozenImages>(&snapshot).await? {
            Some(it) => it.value.images.iter().any(|it| case.has_image_key(&it.key)),
            // Not frozen yet, or erased: what it was to take.
            None => case.is_chosen_by(parameters),
        };
        if contains {
            found.push(JobSeen::of(&job.value));
        }
    }
    Ok(found)
}

/// All jobs of every folder in which one stands on a data set.
async fn projects(store: &Store, datasets: &BTreeSet<Dir>) -> Result<Vec<JobSeen>, Error> {
    let mut found = Vec::new();
    if datasets.is_empty() {
        return Ok(found);
    }
    for dir in dirs(store, &Prefix::Projects).await? {
        let mut jobs = Vec::new();
        for kind in OF_PROJECTS {
            jobs.extend(store.read_job(kind, &dir).await?.map(|it| it.value));
        }
        let stands_on = |it: &JobRecord| {
            let dataset = it.parameters.dataset();
            dataset.is_some_and(|it| datasets.contains(it))
        };
        if jobs.iter().any(stands_on) {
            found.extend(jobs.iter().map(JobSeen::of));
        }
    }
    Ok(found)
}

async fn dirs(store: &Store, prefix: &Prefix) -> Result<Vec<Dir>, Error> {
    let dirs = store.list_dirs(&prefix.to_path()).await?;
    let last = |dir: &String| Dir::parse(dir.rsplit('/').next()?).ok();
    Ok(dirs.iter().filter_map(last).collect())
}

/// What lies in a job's folder and below its units, but for the records of jobs.
async fn of_job(store: &Store, job: &JobSeen) -> Result<Vec<Found>, Error> {
    let folder = match job.kind {
        JobKind::Data => Prefix::Dataset(job.dir.clone()),
        _ => Prefix::Project(job.dir.clone()),
    };
    let mut found = listed(store, &Prefix::UnitsOfJob(job.dir.clone()).to_path()).await?;
    found.retain(|it| match ObjectKey::parse(&it.key) {
        Ok(Some(ObjectKey::Unit(unit) | ObjectKey::UnitOutput { unit, .. })) => {
            unit.kind == job.kind
        }
        _ => false,
    });
    let is_record = |it: &Found| {
        matches!(
            ObjectKey::parse(&it.key),
            Ok(Some(
                ObjectKey::Dataset(_, DatasetFile::Job)
                    | ObjectKey::Project(_, ProjectFile::Job(_))
            ))
        )
    };
    let files = listed(store, &folder.to_path()).await?;
    found.extend(files.into_iter().filter(|it| !is_record(it)));
    Ok(found)
}

async fn models(store: &Store, projects: &[JobSeen]) -> Result<Vec<String>, Error> {
    let mids: BTreeSet<String> = projects
        .iter()
        .filter_map(|it| Some(it.mid?.to_string()))
        .collect();
    if mids.is_empty() {
        return Ok(Vec::new());
    }
    // Of any kind and ending.
    let mut files = Vec::new();
    for kind in ModelKind::ALL {
        files.extend(listed(store, &Prefix::Models(kind).to_path()).await?);
    }
    let names = files
        .iter()
        .filter_map(|it| match ObjectKey::parse(&it.key) {
            Ok(Some(ObjectKey::Model(key))) => {
                let (mid, _) = key.file.split_once('.')?;
                mids.contains(mid).then(|| key.name())
            }
            _ => None,
        });
    Ok(names.collect())
}

impl JobSeen {
    fn of(job: &JobRecord) -> Self {
        let mid = match &job.parameters {
            JobParameters::Train(it) => Some(it.mid),
            JobParameters::Data(_) | JobParameters::Predict(_) => None,
        };
        Self {
            kind: job.kind,
            dir: job.dir.clone(),
            state: job.state,
            is_erased: job.erased.is_some(),
            mid,
        }
    }
}
