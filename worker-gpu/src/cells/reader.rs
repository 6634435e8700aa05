//! Pictures of cells out of packs, by byte range, in bounded memory.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use cellmill_core::formats::InputPack;
use cellmill_store::Store;
use cellmill_vision::pack::{PackEntry, PackError, PackIndex, TailRead};
use cellmill_vision::{Limits, RgbImage, decode, resize};
use cellmill_worker::{Context, Failure};
use rayon::prelude::*;

use crate::compute::Compute;

/// Bytes fetched at once. Cells are some kilobytes, so one read brings about a thousand.
const MAX_READ: u64 = 8 << 20;
/// Unwanted bytes that are fetched along rather than paying for another read.
const MAX_GAP: u64 = 64 << 10;
/// Bytes of resized pixels handed out at once.
const MAX_PIXELS: usize = 64 << 20;
/// A cell is never larger than this once decoded: several are decoded at once.
const MAX_DECODED: u64 = 64 << 20;

/// A cell to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The caller's number of it.
    pub(crate) at: usize,
    pub(crate) pack: &'a InputPack,
    /// Its name in the pack.
    pub(crate) name: &'a str,
}

/// A cell that was read.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// [`Wanted::at`].
    pub(crate) at: usize,
    /// The file as it lies in the pack.
    pub(crate) png: Bytes,
    /// `side * side * 3` bytes for each side that was asked for.
    pub(crate) pixels: Vec<Vec<u8>>,
}

/// Reads cells pack by pack, in the order in which the packs are first wanted; within a pack by place. A picture that
/// is missing or broken is told to the context and left out.
#[derive(Debug)]
pub(crate) struct CellReader<'a> {
    compute: &'a Compute,
    limits: Limits,
    sides: Vec<u32>,
    packs: VecDeque<(&'a InputPack, Vec<Wanted<'a>>)>,
    reads: VecDeque<Read<'a>>,
}

/// Some cells of one pack that lie near each other.
#[derive(Debug)]
struct Read<'a> {
    pack: &'a InputPack,
    range: Range<u64>,
    cells: Vec<(Wanted<'a>, PackEntry)>,
}

impl<'a> CellReader<'a> {
    pub(crate) fn new(
        compute: &'a Compute,
        limits: &Limits,
        sides: &[u32],
        wanted: impl IntoIterator<Item = Wanted<'a>>,
    ) -> Self {
        let mut packs: VecDeque<(&InputPack, Vec<Wanted<'_>>)> = VecDeque::new();
        let mut places = std::collections::HashMap::new();
        for cell in wanted {
            let place = *places.entry(cell.pack.key.as_str()).or_insert_with(|| {
                packs.push_back((cell.pack, Vec::new()));
                packs.len() - 1
            });
            packs[place].1.push(cell);
        }
        let limits = Limits {
            min_side: 1,
            max_decoded_bytes: limits.max_decoded_bytes.min(MAX_DECODED),
            ..limits.clone()
        };
        Self {
            compute,
            limits,
            sides: sides.to_vec(),
            packs,
            reads: VecDeque::new(),
        }
    }

    /// The next cells, `None` after the last ones. May be empty.
    pub(crate) async fn next(
        &mut self,
        context: &Context,
    ) -> Result<Option<Vec<Picture>>, Failure> {
        loop {
            context.check_stop()?;
            if let Some(read) = self.reads.pop_front() {
                return self.fetch(read, context).await.map(Some);
            }
            let Some((pack, cells)) = self.packs.pop_front() else {
                return Ok(None);
            };
            self.reads = self.open(pack, cells, context).await?;
        }
    }

    /// Finds cells in the directory of their pack.
    async fn open(
        &self,
        pack: &'a InputPack,
        cells: Vec<Wanted<'a>>,
        context: &Context,
    ) -> Result<VecDeque<Read<'a>>, Failure> {
        let index = match read_index(context.store(), pack).await? {
            Ok(index) => index,
            Err(lost) => {
                let reason = format!("{} cells lie in it and can't be read: {lost}", cells.len());
                context.rejected(&pack.key, lost.code(), reason);
                return Ok(VecDeque::new());
            }
        };
        let mut found: Vec<(Wanted<'_>, PackEntry)> = Vec::with_capacity(cells.len());
        for cell in cells {
            match index.get(cell.name) {
                Some(entry) => found.push((cell, entry.clone())),
                None => context.rejected(
                    cell.name,
                    "missing",
                    format!("it is not in pack `{}`", pack.key),
                ),
            }
        }
        found.sort_by_key(|(_, entry)| entry.range().start);
        let one: usize = self.sides.iter().map(|it| 3 * (it * it) as usize).sum();
        Ok(plan(pack, found, (MAX_PIXELS / one.max(1)).max(1)))
    }

    async fn fetch(&self, read: Read<'a>, context: &Context) -> Result<Vec<Picture>, Failure> {
        let Read { pack, range, cells } = read;
        let bytes = context.store().get_range(&pack.key, range.clone()).await;
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                let reason = format!("{} cells lie in it, and it is not there", cells.len());
                context.rejected(&pack.key, "missing", reason);
                return Ok(Vec::new());
            }
            Err(error) => {
                let what = format!("could not read pack `{}`", pack.key);
                return Err(Failure::of_store(what, error));
            }
        };
        let made: Vec<Result<Picture, String>> = self.compute.run(|| {
            let one = |(cell, entry): &(Wanted<'_>, PackEntry)| {
                self.picture(*cell, entry, &bytes, range.start)
            };
            cells.par_iter().map(one).collect()
        });
        let mut pictures = Vec::with_capacity(made.len());
        for ((cell, _), made) in cells.iter().zip(made) {
            match made {
                Ok(picture) => pictures.push(picture),
                Err(reason) => context.rejected(cell.name, "damaged", reason),
            }
        }
        Ok(pictures)
    }

    fn picture(
        &self,
        cell: Wanted<'_>,
        entry: &PackEntry,
        fetched: &Bytes,
        from: u64,
    ) -> Result<Picture, String> {
        let range = entry.range();
        let (start, end) = ((range.start - from) as usize, (range.end - from) as usize);
        let entry_bytes = fetched.get(start..end).ok_or("its pack is cut")?;
        let body = entry.body(entry_bytes).map_err(|it| it.to_string())?;
        let decoded = decode(body, &self.limits).map_err(|it| cellmill_service::report(&it))?;
        let pixels = self.sides.iter().map(|&side| fitted(&decoded.image, side));
        Ok(Picture {
            at: cell.at,
            pixels: pixels.collect(),
            // Of its own, so that what was fetched around it can go.
            png: Bytes::copy_from_slice(body),
        })
    }
}

/// The pixels of an image as a square of this side, proportions or not.
pub(crate) fn fitted(image: &RgbImage, side: u32) -> Vec<u8> {
    if (image.width, image.height) == (side, side) {
        image.data.clone()
    } else {
        resize(image, side, side).data
    }
}

/// Puts neighbours together. `cells` are sorted by place.
fn plan<'a>(
    pack: &'a InputPack,
    cells: Vec<(Wanted<'a>, PackEntry)>,
    max_cells: usize,
) -> VecDeque<Read<'a>> {
    let mut reads: VecDeque<Read<'_>> = VecDeque::new();
    for (cell, entry) in cells {
        let range = entry.range();
        match reads.back_mut() {
            Some(last)
                if range.start <= last.range.end + MAX_GAP
                    && range.end - last.range.start <= MAX_READ
                    && last.cells.len() < max_cells =>
            {
                last.range.end = last.range.end.max(range.end);
                last.cells.push((cell, entry));
            }
            _ => reads.push_back(Read {
                pack,
                range,
                cells: vec![(cell, entry)],
            }),
        }
    }
    reads
}

/// Why a pack gives nothing.
#[derive(Debug, thiserror::Error)]
enum LostPack {
    #[error("the pack is not there")]
    Missing,
    #[error("{0}")]
    Malformed(PackError),
}

impl LostPack {
    const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed(_) => "damaged",
        }
    }
}

async fn read_index(
    store: &Store,
    pack: &InputPack,
) -> Result<Result<PackIndex, LostPack>, Failure> {
    let mut range = PackIndex::tail_range(pack.bytes);
    loop {
        let tail = match store.get_range(&pack.key, range.clone()).await {
            Ok(tail) => tail,
            Err(error) if error.is_not_found() => return Ok(Err(LostPack::Missing)),
            Err(error) => {
                let what = format!("could not read pack `{}`", pack.key);
                return Err(Failure::of_store(what, error));
            }
        };
        match PackIndex::read_tail(&tail, pack.bytes) {
            Ok(TailRead::Complete(index)) => return Ok(Ok(index)),
            // Asked for twice, the same range would come back for ever.
            Ok(TailRead::NeedMore { range: more }) if more != range => range = more,
            Ok(TailRead::NeedMore { .. }) => {
                let what = "its directory can't be reached";
                return Ok(Err(LostPack::Malformed(PackError::Malformed { what })));
            }
            Err(error) => return Ok(Err(LostPack::Malformed(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use cellmill_vision::pack::write_pack;

    use super::*;

    #[test]
    fn neighbours_are_read_together_and_no_read_is_too_large() {
        let bodies = (0..40).map(|it| (format!("{it:02}"), vec![it as u8; 1 << 20]));
        let pack = write_pack(bodies).unwrap();
        let index = PackIndex::of(&pack).unwrap();
        let key = InputPack {
            key: "p".to_owned(),
            bytes: pack.len() as u64,
        };
        // All but the eleventh, whose megabyte is too much to be fetched along.
        let wanted = (0..40).filter(|it| *it != 10).map(|at| {
            let entry = &index.entries()[at];
            let wanted = Wanted {
                at,
                pack: &key,
                name: &entry.name,
            };
            (wanted, entry.clone())
        });
        let reads = plan(&key, wanted.collect(), 1000);
        assert!(
            reads
                .iter()
                .all(|it| it.range.end - it.range.start <= MAX_READ)
        );
        let all: Vec<usize> = reads
            .iter()
            .flat_map(|it| it.cells.iter().map(|it| it.0.at))
            .collect();
        assert_eq!(all.len(), 39);
        assert!(reads.len() <= 7, "{}", reads.len());
        let gap = index.entries()[10].range();
        assert!(
            reads
                .iter()
                .all(|it| it.range.end <= gap.start || it.range.start >= gap.end)
        );
    }
}
