//! The frozen input: the list of images, the input of each unit, the snapshot that names it all.
//!
//! Everything is written create-if-absent, and what is there is read: a second run continues the first.

use std::collections::BTreeSet;

use cellmill_core::formats::{
    DatasetInfo, FileListRow, Indent, read_file_list, to_json, write_file_list,
};
use cellmill_core::ids::Dir;
use cellmill_core::job::{DataParameters, JobRecord};
use cellmill_core::keys::{DatasetFile, ImageKey, ModelKey, ObjectKey};
use cellmill_core::label::{Folded, LabelDocument, fold};
use cellmill_core::records::{ImageRecord, ImageState};
use cellmill_core::snapshot::{InputImage, LeftOut, Point, Snapshot, SnapshotImage, UnitInput};
use cellmill_store::{Error, Put, Store};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::choose::{self, PointsIndex};

/// Documents read at once: each is one small read, so the wait for storage is what costs.
const PARALLEL_READS: usize = 32;

/// The frozen list of the job's images; an image that can't be used is not in it.
pub(crate) async fn file_list(
    store: &Store,
    dir: &Dir,
    parameters: &DataParameters,
) -> Result<Vec<ImageKey>, Error> {
    let key = ObjectKey::Dataset(dir.clone(), DatasetFile::FileList);
    if store.head(&key).await?.is_none() {
        let rows = usable_images(store, parameters).await?;
        match store
            .put_bytes(&key, write_file_list(&rows), Put::Create)
            .await
        {
            Ok(_) | Err(Error::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let bytes = store.get_bytes(&key).await?;
    let rows = read_file_list(&bytes).map_err(|source| Error::unusable(&key, source))?;
    let images = rows.iter().map(|it| it.imgpath.parse::<ImageKey>());
    images
        .collect::<Result<_, _>>()
        .map_err(|source| Error::unusable(&key, source))
}

async fn usable_images(
    store: &Store,
    parameters: &DataParameters,
) -> Result<Vec<FileListRow>, Error> {
    let points = PointsIndex::read(store, parameters).await?;
    let keys = choose::images(store, parameters).await?;
    let points = &points;
    let rows: Vec<Option<FileListRow>> = stream::iter(keys)
        .map(|key| async move {
            let record = store
                .read::<ImageRecord>(&ObjectKey::ImageRecord(key.clone()))
                .await?;
            let usable = record
                .map(|it| it.value)
                .filter(|it| it.state == ImageState::Ok);
            let Some(record) = usable else {
                return Ok(None);
            };
            if !is_of_type(store, &key, parameters).await? {
                return Ok(None);
            }
            Ok::<_, Error>(Some(row(&key, &record, points)))
        })
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
    Ok(rows.into_iter().flatten().collect())
}

/// Has the image a label of the type that was asked for?
async fn is_of_type(
    store: &Store,
    key: &ImageKey,
    parameters: &DataParameters,
) -> Result<bool, Error> {
    let Some(wanted) = &parameters.label_type else {
        return Ok(true);
    };
    let label = store
        .read::<LabelDocument>(&ObjectKey::Label(key.clone()))
        .await?;
    Ok(label.is_some_and(|it| it.value.label_type == wanted.as_str()))
}

fn row(key: &ImageKey, record: &ImageRecord, points: &PointsIndex) -> FileListRow {
    FileListRow {
        imgid: Some(record.imgid),
        imgpath: key.to_path(),
        csvpath: points
            .of(key, &record.shown_name())
            .map_or_else(String::new, |it| it.to_path()),
        p1n0: 0,
        batchid: key.batch.to_string(),
        medicalid: key.case.to_string(),
        imgname: key.name.to_string(),
    }
}

/// Freezes the input of one unit, unless it is frozen already.
pub(crate) async fn unit_input(
    store: &Store,
    dir: &Dir,
    unit: u32,
    images: &[ImageKey],
) -> Result<(), Error> {
    let key = ObjectKey::Dataset(dir.clone(), DatasetFile::Input { unit });
    if store.head(&key).await?.is_some() {
        return Ok(());
    }
    let images: Vec<Option<InputImage>> = stream::iter(images.to_vec())
        .map(|image| async move { input_image(store, &image).await })
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
    let input = UnitInput {
        v: 1,
        unit,
        images: images.into_iter().flatten().collect(),
    };
    match store.put_bytes(&key, input.to_bytes(), Put::Create).await {
        Ok(_) | Err(Error::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// An image as it is now, with what its label says; `None` when it can't be used any more.
async fn input_image(store: &Store, key: &ImageKey) -> Result<Option<InputImage>, Error> {
    let Some(record) = store
        .read::<ImageRecord>(&ObjectKey::ImageRecord(key.clone()))
        .await?
    else {
        return Ok(None);
    };
    let record = record.value;
    let (ImageState::Ok, Some(picture), Some(sha256)) =
        (record.state, &record.picture, &record.sha256)
    else {
        return Ok(None);
    };
    let label = store
        .read::<LabelDocument>(&ObjectKey::Label(key.clone()))
        .await?
        .map(|it| it.value);
    let Folded {
        cells, image_class, ..
    } = label.as_ref().map(fold).unwrap_or_default();
    // What a model says is a proposal: it is never learned from, nor taken for the truth.
    let image_class = image_class
        .filter(|it| !it.source.is_model())
        .map(|it| it.class);
    let cells: Vec<_> = cells
        .into_iter()
        .filter(|it| !it.source.is_model())
        .collect();
    let point = |it: &cellmill_core::label::LabelledCell| Point {
        x: it.place.x,
        y: it.place.y,
        class: it.class,
        bbox: it.place.bbox,
        duplicate: it.duplicate,
    };
    Ok(Some(InputImage {
        key: key.to_path(),
        imgid: record.imgid,
        sha256: sha256.clone(),
        w: picture.width,
        h: picture.height,
        batch: key.batch.to_string(),
        case: key.case.to_string(),
        name: key.name.to_string(),
        label_rev: label.map(|it| it.stamp.rev),
        points: cells.iter().map(point).collect(),
        image_class,
        part: record.part,
    }))
}

/// Seals the snapshot from the frozen inputs and returns its hash.
pub(crate) async fn snapshot(
    store: &Store,
    job: &JobRecord,
    parameters: &DataParameters,
    units: u32,
    listed: &[ImageKey],
) -> Result<String, Error> {
    let dir = &job.dir;
    let mut images = Vec::with_capacity(listed.len());
    for unit in 0..units {
        let key = ObjectKey::Dataset(dir.clone(), DatasetFile::Input { unit });
        let input: UnitInput = match store.read_json(&key).await? {
            Some(input) => input.value,
            None => return Err(Error::NotFound { key: key.to_path() }),
        };
        images.extend(input.images.iter().map(snapshot_image));
    }
    let left_out = left_out(store, parameters, &images).await?;
    let parameters = match serde_json::to_value(parameters) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let sealed = Snapshot::seal(
        dir.as_str(),
        job.kind.as_str(),
        parameters,
        images,
        left_out,
    );
    let key = ObjectKey::Dataset(dir.clone(), DatasetFile::Snapshot);
    match store.put_bytes(&key, sealed.to_bytes(), Put::Create).await {
        Ok(_) => Ok(sealed.hash.to_string()),
        Err(Error::Exists { .. }) => {
            let frozen = store.read_json::<Snapshot>(&key).await?;
            Ok(frozen.map_or(sealed.hash, |it| it.value.hash).to_string())
        }
        Err(error) => Err(error),
    }
}

fn snapshot_image(it: &InputImage) -> SnapshotImage {
    SnapshotImage {
        key: it.key.clone(),
        imgid: it.imgid,
        sha256: it.sha256.clone(),
        w: it.w,
        h: it.h,
        label_rev: it.label_rev,
        n_points: it.points.len() as u64,
        image_class: it.image_class,
        part: it.part,
        input_sha256: it.points_sha256(),
    }
}

/// Images of the chosen cases that take no part, and why.
async fn left_out(
    store: &Store,
    parameters: &DataParameters,
    taken: &[SnapshotImage],
) -> Result<Vec<LeftOut>, Error> {
    let taken: BTreeSet<&str> = taken.iter().map(|it| it.key.as_str()).collect();
    let others = choose::images(store, parameters)
        .await?
        .into_iter()
        .filter(|it| !taken.contains(it.to_path().as_str()));
    stream::iter(others)
        .map(|key| async move {
            let record = store
                .read::<ImageRecord>(&ObjectKey::ImageRecord(key.clone()))
                .await?;
            // Images of other label types were not chosen, so they are not left out either.
            let is_ok =
                |it: &cellmill_store::Versioned<ImageRecord>| it.value.state == ImageState::Ok;
            if record.as_ref().is_some_and(is_ok) && !is_of_type(store, &key, parameters).await? {
                return Ok(None);
            }
            let reason = record.map_or("its record is gone".to_owned(), |it| {
                why_left_out(&it.value)
            });
            Ok(Some(LeftOut {
                key: key.to_path(),
                reason,
            }))
        })
        .buffered(PARALLEL_READS)
        .try_filter_map(|it| std::future::ready(Ok(it)))
        .try_collect()
        .await
}

fn why_left_out(record: &ImageRecord) -> String {
    match record.state {
        ImageState::Expected => "its bytes have not come".to_owned(),
        ImageState::Ok => "it came after the data set was frozen".to_owned(),
        ImageState::Rejected => record
            .rejection
            .as_ref()
            .map_or("rejected".to_owned(), |it| format!("rejected: {}", it.code)),
        ImageState::Conflict => "conflict: other bytes came under its key".to_owned(),
    }
}

/// The legacy description, as it stands before the cells are cut. It never replaces one: `collect` completes it, and
/// a run that was held up for long enough comes here after that.
pub(crate) async fn info(
    store: &Store,
    job: &JobRecord,
    parameters: &DataParameters,
) -> Result<(), Error> {
    let mut info = DatasetInfo::of_job(job, parameters);
    if job.class.is_legacy() {
        info.modpath = legacy_modpath(store, parameters.mid).await?;
    }
    let key = ObjectKey::Dataset(job.dir.clone(), DatasetFile::Info);
    let put = store.put_bytes(&key, to_json(&info, Indent::One), Put::Create);
    match put.await {
        Ok(_) | Err(Error::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The predecessor's croppers look for their model below `modules/`.
async fn legacy_modpath(store: &Store, mid: u64) -> Result<String, Error> {
    let card = store.read_model_card(mid).await?;
    let model = card.and_then(|it| ModelKey::parse_name(&it.value.file));
    Ok(model.map(|it| it.name()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use cellmill_core::job::JobParameters;
    use cellmill_core::messages::UnitClass;

    use super::*;

    #[tokio::test]
    async fn a_late_run_leaves_the_description_that_collect_completed() {
        let (store, parameters) = (Store::memory(), DataParameters::default());
        let job = JobRecord::accepted(
            Dir::parse("DkxD9Kjl").unwrap(),
            1,
            JobParameters::Data(parameters.clone()),
            UnitClass::cpu(),
            "me".to_owned(),
            store.now(),
        );
        info(&store, &job, &parameters).await.unwrap();
        let key = ObjectKey::Dataset(job.dir.clone(), DatasetFile::Info);
        assert!(store.head(&key).await.unwrap().is_some());
        store
            .put_bytes(&key, "complete", Put::Overwrite)
            .await
            .unwrap();
        info(&store, &job, &parameters).await.unwrap();
        assert_eq!(store.get_bytes(&key).await.unwrap(), "complete");
    }
}
