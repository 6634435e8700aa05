//! Collecting pictures into packs of bounded size.

use std::collections::BTreeMap;

use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::{DatasetFile, ObjectKey, PackName, UnitKey};
use cellmill_core::unit::Output;
use cellmill_vision::pack::write_pack;
use cellmill_worker::{Context, Failure};

/// A usual unit fits into one pack of this size; a larger one gets several, so that its memory stays bounded.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// Below the 65,534 entries that the form of a pack allows.
const MAX_ENTRIES: usize = 50_000;

/// The pictures of a unit on their way into packs.
///
/// A pack ends where the next picture would exceed a limit. That follows from the order of the pictures
/// alone, so equal input gives equal packs.
#[derive(Debug)]
pub(super) struct Packer {
    unit: UnitKey,
    max_bytes: usize,
    entries: BTreeMap<String, Vec<u8>>,
    n_bytes: usize,
    packs: Vec<Output>,
}

impl Packer {
    pub(super) fn new(unit: UnitKey, max_bytes: usize) -> Self {
        Self {
            unit,
            max_bytes,
            entries: BTreeMap::new(),
            n_bytes: 0,
            packs: Vec::new(),
        }
    }

    /// Adds a picture; a full pack is written first.
    pub(super) async fn add(
        &mut self,
        context: &Context,
        name: String,
        png: Vec<u8>,
    ) -> Result<(), Failure> {
        let is_full =
            self.n_bytes + png.len() > self.max_bytes || self.entries.len() >= MAX_ENTRIES;
        if is_full && !self.entries.is_empty() {
            self.write(context).await?;
        }
        self.n_bytes += png.len();
        self.entries.insert(name, png);
        Ok(())
    }

    /// Writes what is left and names all packs, in their order. A unit without cells has none.
    pub(super) async fn finish(mut self, context: &Context) -> Result<Vec<Output>, Failure> {
        if !self.entries.is_empty() {
            self.write(context).await?;
        }
        Ok(self.packs)
    }

    async fn write(&mut self, context: &Context) -> Result<(), Failure> {
        self.n_bytes = 0;
        let pack = write_pack(std::mem::take(&mut self.entries));
        let pack = pack.map_err(|error| Failure::permanent("could not write a pack", error))?;
        let name = PackName::of_content(self.unit.unit, &sha256_hex(&pack));
        let key = ObjectKey::Dataset(self.unit.dir.clone(), DatasetFile::Pack(name));
        self.packs
            .push(context.write_shared("pack", &key, pack).await?);
        Ok(())
    }
}
