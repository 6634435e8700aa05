//! What a worker of the predecessor left, where it differs from what our own leave.
//!
//! The api checked its files and committed copies of them. Its cells lie loose under `scratch/`; they are packed here,
//! so that a training or a prediction of ours can stand on its data set.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use cellmill_core::classes::KnownClasses;
use cellmill_core::formats::{DatasetInfo, Indent, TrainResult, to_json};
use cellmill_core::ids::sha256_hex;
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{DatasetFile, ModelKey, ModelKind, ObjectKey, PackName, ProjectFile};
use cellmill_core::messages::UnitClass;
use cellmill_core::model::{ModelCard, ModelClass};
use cellmill_core::records::PackEntry;
use cellmill_core::training::TrainParameters;
use cellmill_core::unit::{Output, UnitRecord};
use cellmill_store::{Put, Store};
use cellmill_vision::pack::write_pack;
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::outputs::{SIGN_OF_LIFE, bad, committed, output, read_output, show_progress};
use crate::{Collect, Error, failed};

/// Cells of one pack, and their bytes: what one process holds at once.
const MAX_PACK_CELLS: usize = 5000;
const MAX_PACK_BYTES: usize = 64 << 20;

/// Packs the cells of a data set, in the order of their names.
pub(crate) async fn packs(
    collect: &Collect,
    job: &JobRecord,
    cells: &BTreeSet<String>,
) -> Result<Vec<PackEntry>, Error> {
    let mut packs = Vec::new();
    let mut entries: Vec<(String, Bytes)> = Vec::new();
    let mut n_bytes = 0;
    let mut shown = Instant::now();
    for path in cells {
        let bytes = match collect.store.get_bytes(path).await {
            Err(cellmill_store::Error::NotFound { .. }) => {
                return Err(bad(
                    job,
                    path,
                    "cellslist.csv names it, and it is not there",
                ));
            }
            read => read.map_err(|it| failed(&job.dir, it))?,
        };
        let is_full = entries.len() == MAX_PACK_CELLS || n_bytes + bytes.len() > MAX_PACK_BYTES;
        if is_full && !entries.is_empty() {
            packs.push(put_pack(collect, job, std::mem::take(&mut entries)).await?);
            n_bytes = 0;
        }
        n_bytes += bytes.len();
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        entries.push((name, bytes));
        if shown.elapsed() > SIGN_OF_LIFE {
            show_progress(collect, job, "packs", 0).await?;
            shown = Instant::now();
        }
    }
    if !entries.is_empty() {
        packs.push(put_pack(collect, job, entries).await?);
    }
    Ok(packs)
}

async fn put_pack(
    collect: &Collect,
    job: &JobRecord,
    entries: Vec<(String, Bytes)>,
) -> Result<PackEntry, Error> {
    let pack = write_pack(entries)
        .map_err(|error| bad(job, "cellslist.csv", &cellmill_service::report(&error)))?;
    let sha256 = sha256_hex(&pack);
    let name = PackName::of_content(0, &sha256);
    let key = ObjectKey::Dataset(job.dir.clone(), DatasetFile::Pack(name));
    let bytes = pack.len() as u64;
    collect
        .store
        .put_bytes(&key, pack, Put::IfSame)
        .await
        .map_err(|it| failed(&job.dir, it))?;
    Ok(PackEntry {
        unit: 0,
        key: key.to_path(),
        bytes,
        sha256,
    })
}

/// The worker's own info2.json, without its lists.
pub(crate) async fn told(
    store: &Store,
    job: &JobRecord,
    unit: &UnitRecord,
) -> Result<Option<DatasetInfo>, Error> {
    let Some(found) = output(unit, "info2") else {
        return Ok(None);
    };
    let bytes = read_output(store, job, found).await?;
    let info = serde_json::from_slice(&bytes)
        .map_err(|error| bad(job, &found.key, &cellmill_service::report(&error)))?;
    Ok(Some(info))
}

/// The model of a training goes to the registry, mod.json says so.
pub(crate) async fn training(
    collect: &Collect,
    job: &JobRecord,
    parameters: &TrainParameters,
) -> Result<(Value, Option<Value>), Error> {
    let store = &collect.store;
    let lost = |it| failed(&job.dir, it);
    let unit = committed(store, job, 0).await?;
    let found = |name: &str| {
        output(&unit, name).ok_or_else(|| bad(job, name, "the commit names no such output"))
    };
    let bytes = read_output(store, job, found("mod")?).await?;
    let mut result: TrainResult = serde_json::from_slice(&bytes)
        .map_err(|error| bad(job, "mod.json", &cellmill_service::report(&error)))?;
    let model = found("model")?;
    let key = registry_key(parameters.mid, &model.key);
    copy(store, model, &key).await.map_err(lost)?;

    result.pid = job.number;
    result.path = ObjectKey::Model(key).to_path();
    result.extra.insert("mid".to_owned(), json!(parameters.mid));
    if result.types.is_empty() {
        result.types.clone_from(&parameters.types);
    }
    let known = store.known_classes().await.map_err(lost)?;
    let card = card(job, parameters, &result, model, &known);
    let card_key = ModelKey::of_number(ModelKind::Classifier, parameters.mid);
    // What a person decided since a first run stays.
    store
        .create(&ObjectKey::ModelCard(card_key), card)
        .await
        .map_err(lost)?;
    if let Some(log) = output(&unit, "log") {
        let bytes = read_output(store, job, log).await?;
        let key = ObjectKey::Project(job.dir.clone(), ProjectFile::Log);
        store
            .put_bytes(&key, bytes, Put::Overwrite)
            .await
            .map_err(lost)?;
    }
    let key = ObjectKey::Project(job.dir.clone(), ProjectFile::Model);
    store
        .put_bytes(&key, to_json(&result, Indent::Two), Put::Overwrite)
        .await
        .map_err(lost)?;
    Ok((serde_json::to_value(&result).unwrap_or_default(), None))
}

/// `modules/classifier/100.h5`: the number, and the ending that the worker gave its file.
fn registry_key(mid: u64, from: &str) -> ModelKey {
    let extension = from.rsplit('.').next().unwrap_or("h5");
    ModelKey {
        kind: ModelKind::Classifier,
        file: format!("{mid}.{extension}"),
    }
}

async fn copy(store: &Store, from: &Output, to: &ModelKey) -> Result<(), cellmill_store::Error> {
    let mut writer = store.writer(&ObjectKey::Model(to.clone()), Put::Overwrite)?;
    let (_, mut pieces) = store.get_stream(&from.key).await?;
    while let Some(piece) = pieces.try_next().await? {
        writer.write(&piece).await?;
    }
    writer.finish().await.map(drop)
}

fn card(
    job: &JobRecord,
    parameters: &TrainParameters,
    result: &TrainResult,
    model: &Output,
    known: &KnownClasses,
) -> ModelCard {
    // `100x100x3`
    let side = result.input_shape.split('x').next();
    let mtype = u8::try_from(result.model_type).ok();
    let mtype = mtype.filter(|it| cellmill_core::legacy::model_type_name(*it).is_some());
    let mtype = mtype.unwrap_or(AUTOKERAS);
    let class = |&id: &u32| ModelClass {
        id,
        name: known.name(id),
    };
    let (file, sha256) = (result.path.clone(), model.sha256.clone());
    let mut card = ModelCard::of_file(parameters.mid, file, model.bytes, sha256);
    card.description.clone_from(&job.description);
    card.classes = result.types.iter().map(class).collect();
    let side = side.and_then(|it| it.parse().ok());
    card.input.side = side.unwrap_or(parameters.resize);
    cellmill_core::legacy::model_type_name(mtype)
        .unwrap_or_default()
        .clone_into(&mut card.family);
    UnitClass::legacy()
        .as_str()
        .clone_into(&mut card.unit_class);
    card.mtype = Some(mtype);
    card
}

/// The kind that the predecessor's own trainings make.
const AUTOKERAS: u8 = 5;
