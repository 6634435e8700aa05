//! The files of a data set that is done.

use std::collections::HashSet;

use cellmill_core::formats::{CellsList, CellsListRow, DatasetInfo, read_file_list};
use cellmill_core::ids::{Dir, sha256_hex};
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{DatasetFile, ObjectKey, PackName};
use cellmill_core::records::{ImageRecord, PackList};
use cellmill_core::snapshot::{Snapshot, UnitInput};
use cellmill_vision::pack::PackIndex;

use super::finding::Findings;

/// Checks that every result file is there and that they agree.
pub(super) async fn results(it: &mut Findings<'_>, dir: &Dir, job: &JobRecord) {
    let key = |file| ObjectKey::Dataset(dir.clone(), file);
    for file in [
        DatasetFile::Info,
        DatasetFile::Info2,
        DatasetFile::FileList,
        DatasetFile::Log,
        DatasetFile::Snapshot,
    ] {
        it.needs("result file exists", &key(file)).await;
    }
    for unit in 0..job.units.count {
        it.needs("frozen input exists", &key(DatasetFile::Input { unit }))
            .await;
    }
    if let Some(snapshot) = it.json::<Snapshot>(&key(DatasetFile::Snapshot)).await
        && job.snapshot.as_deref() != Some(snapshot.hash.as_str())
    {
        it.problem(
            "job names its snapshot",
            format!("the snapshot's hash is {}", snapshot.hash),
        );
    }
    let Some(list) = it.json::<PackList>(&key(DatasetFile::Packs)).await else {
        return it.problem("result file exists", "`packs.json` is not there");
    };
    let mut cells = HashSet::new();
    for pack in &list.packs {
        cells.extend(pack_cells(it, &pack.key).await);
    }
    cells_lists(it, dir, &cells).await;
}

/// The names of the cells in a pack that is there.
async fn pack_cells(it: &mut Findings<'_>, pack: &str) -> Vec<String> {
    let Ok(Some(key @ ObjectKey::Dataset(_, DatasetFile::Pack(_)))) = ObjectKey::parse(pack) else {
        it.problem("pack has a key of the layout", format!("`{pack}`"));
        return Vec::new();
    };
    if !it.needs("listed pack exists", &key).await {
        return Vec::new();
    }
    let Some(bytes) = it.bytes(&key).await else {
        return Vec::new();
    };
    match PackIndex::of(&bytes) {
        Ok(index) => index.entries().iter().map(|it| it.name.clone()).collect(),
        // The pack's own check names what is wrong with it.
        Err(_) => Vec::new(),
    }
}

async fn cells_lists(it: &mut Findings<'_>, dir: &Dir, cells: &HashSet<String>) {
    for part in 0.. {
        let key = ObjectKey::Dataset(dir.clone(), DatasetFile::CellsList { part });
        if it.length(&key).await.is_none() {
            if part == 0 {
                it.problem("result file exists", format!("`{key}` is not there"));
            }
            return;
        }
        let Some(bytes) = it.bytes(&key).await else {
            return;
        };
        let rows = CellsList::new(bytes.as_slice())
            .and_then(Iterator::collect::<Result<Vec<CellsListRow>, _>>);
        match rows {
            Err(error) => it.problem("cellslist.csv can be read", format!("`{key}`: {error}")),
            Ok(rows) => {
                for row in rows {
                    row_exists(it, &row, cells).await;
                }
            }
        }
    }
}

async fn row_exists(it: &mut Findings<'_>, row: &CellsListRow, cells: &HashSet<String>) {
    let name = row.cellpath.rsplit('/').next().unwrap_or_default();
    if !cells.contains(name) {
        it.problem("cell of a row is in a pack", format!("`{name}` is in none"));
    }
    if !row.cache {
        return;
    }
    match ObjectKey::parse(&row.cellpath) {
        Ok(Some(key @ ObjectKey::Cell { .. })) => {
            it.needs("cell of a row is a PNG", &key).await;
        }
        _ => it.problem(
            "cell has a key of the layout",
            format!("`{}`", row.cellpath),
        ),
    }
}

/// One file of a data set by itself.
pub(super) async fn file(it: &mut Findings<'_>, file: &DatasetFile) {
    match file {
        DatasetFile::Info | DatasetFile::Info2 => {
            it.json::<DatasetInfo>(it.key).await;
        }
        DatasetFile::Packs => {
            it.json::<PackList>(it.key).await;
        }
        DatasetFile::Snapshot => snapshot(it).await,
        DatasetFile::Input { unit } => {
            if let Some(input) = it.json::<UnitInput>(it.key).await
                && input.unit != *unit
            {
                it.problem(
                    "input speaks of its unit",
                    format!("it speaks of {}", input.unit),
                );
            }
        }
        DatasetFile::FileList => {
            if let Some(bytes) = it.bytes(it.key).await
                && let Err(error) = read_file_list(&bytes)
            {
                it.problem("filelist.csv can be read", error.to_string());
            }
        }
        DatasetFile::Pack(name) => pack(it, name).await,
        // The job has its own check; the cells' list is read with it.
        DatasetFile::Job | DatasetFile::CellsList { .. } | DatasetFile::Log => {}
    }
}

async fn snapshot(it: &mut Findings<'_>) {
    let Some(snapshot) = it.json::<Snapshot>(it.key).await else {
        return;
    };
    if !snapshot.is_intact() {
        it.problem(
            "snapshot is what its hash says",
            "its content gives another hash",
        );
    }
    for image in &snapshot.images {
        let Ok(key) = image.key.parse() else {
            it.problem("image has a key of the layout", format!("`{}`", image.key));
            continue;
        };
        let record = ObjectKey::ImageRecord(key);
        match it.document::<ImageRecord>(&record).await {
            Some(record) if record.sha256.as_ref() == Some(&image.sha256) => {}
            Some(_) => it.problem(
                "image is what was frozen",
                format!("`{}` has another sha256 now", image.key),
            ),
            None => it.problem(
                "frozen image is recorded",
                format!("`{record}` is not there"),
            ),
        }
    }
}

async fn pack(it: &mut Findings<'_>, name: &PackName) {
    let Some(bytes) = it.bytes(it.key).await else {
        return;
    };
    if PackName::of_content(name.unit, &sha256_hex(&bytes)) != *name {
        it.problem(
            "pack is named by its content",
            "its bytes have another sha256",
        );
    }
    if let Err(error) = PackIndex::of(&bytes) {
        it.problem("pack can be read", error.to_string());
    }
}
