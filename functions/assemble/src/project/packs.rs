//! Which pack holds a cell.

use std::collections::HashMap;

use cellmill_core::formats::InputPack;
use cellmill_core::ids::Dir;
use cellmill_core::keys::{DatasetFile, ObjectKey};
use cellmill_core::records::{PackEntry, PackList};
use cellmill_store::Store;
use cellmill_vision::pack::{PackIndex, TailRead};

use crate::{Error, failed};

/// The packs of a data set, walked in the order of its table: both are sorted by unit.
pub(super) struct Packs {
    ddir: Dir,
    all: Vec<PackEntry>,
    /// The next pack whose directory was not read.
    next: usize,
    /// The unit whose packs are in `names`.
    unit: u32,
    /// Cells of that unit.
    names: HashMap<String, usize>,
}

impl Packs {
    pub(super) async fn open(store: &Store, ddir: &Dir) -> Result<Self, Error> {
        let key = ObjectKey::Dataset(ddir.clone(), DatasetFile::Packs);
        let list = store
            .read_json::<PackList>(&key)
            .await
            .map_err(|it| failed(ddir, it))?;
        Ok(Self {
            ddir: ddir.clone(),
            all: list.map(|it| it.value.packs).unwrap_or_default(),
            next: 0,
            unit: 0,
            names: HashMap::new(),
        })
    }

    /// The pack of a cell that stands at or behind the last one asked for.
    pub(super) async fn holding(&mut self, store: &Store, name: &str) -> Result<InputPack, Error> {
        loop {
            if let Some(&at) = self.names.get(name) {
                let entry = &self.all[at];
                return Ok(InputPack {
                    key: entry.key.clone(),
                    bytes: entry.bytes,
                });
            }
            let Some(entry) = self.all.get(self.next) else {
                return Err(Error::Unusable {
                    reason: format!(
                        "cell `{name}` is in no pack of data set `{}`; look with `cellmill verify` what is missing",
                        self.ddir
                    ),
                });
            };
            if entry.unit != self.unit {
                self.unit = entry.unit;
                self.names.clear();
            }
            let index = directory(store, &self.ddir, entry).await?;
            let names = index
                .entries()
                .iter()
                .map(|it| (it.name.clone(), self.next));
            self.names.extend(names);
            self.next += 1;
        }
    }
}

async fn directory(store: &Store, ddir: &Dir, entry: &PackEntry) -> Result<PackIndex, Error> {
    let damaged = |error| Error::Unusable {
        reason: format!("pack `{}`: {}", entry.key, cellmill_service::report(&error)),
    };
    let mut range = PackIndex::tail_range(entry.bytes);
    loop {
        let tail = store
            .get_range(&entry.key, range)
            .await
            .map_err(|it| failed(ddir, it))?;
        match PackIndex::read_tail(&tail, entry.bytes).map_err(damaged)? {
            TailRead::Complete(index) => return Ok(index),
            TailRead::NeedMore { range: longer } => range = longer,
        }
    }
}
