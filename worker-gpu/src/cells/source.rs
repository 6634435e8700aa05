//! The reading side of [`CellReader`](super::CellReader): ranges of packs become pictures, ahead of who takes them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cellmill_core::formats::InputPack;
use cellmill_store::Store;
use cellmill_vision::pack::{PackEntry, PackError, PackIndex, TailRead};
use cellmill_vision::{Limits, RgbImage, decode, resize};
use cellmill_worker::Failure;
use rayon::prelude::*;
use tokio::sync::mpsc::Sender;

use super::reader::Picture;
use crate::compute::Compute;

/// Bytes fetched at once. Cells are some kilobytes, so one read brings about a thousand.
const MAX_READ: u64 = 8 << 20;
/// Unwanted bytes that are fetched along rather than paying for another read.
const MAX_GAP: u64 = 64 << 10;
/// Bytes of resized pixels handed out at once. Three times this is in memory: with who took it, ready, being made.
const MAX_PIXELS: usize = 24 << 20;
/// A cell is never larger than this once decoded: several are decoded at once.
const MAX_DECODED: u64 = 64 << 20;

/// A cell to read, by the caller's number and its name in the pack.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) at: usize,
    pub(super) name: String,
}

/// What one read brought.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) pictures: Vec<Picture>,
    /// What is left out: name, code, reason.
    pub(super) rejected: Vec<(String, &'static str, String)>,
    pub(super) reading: Duration,
    pub(super) decoding: Duration,
}

impl Fetched {
    fn reject(&mut self, name: &str, code: &'static str, reason: String) {
        self.rejected.push((name.to_owned(), code, reason));
    }
}

/// Fetches and decodes.
#[derive(Clone, Debug)]
pub(super) struct Source {
    compute: Compute,
    limits: Limits,
    sides: Vec<u32>,
}

/// Some cells of one pack that lie near each other.
#[derive(Debug)]
struct Read {
    range: Range<u64>,
    cells: Vec<(Cell, PackEntry)>,
}

impl Source {
    pub(super) fn new(compute: &Compute, limits: &Limits, sides: &[u32]) -> Self {
        let limits = Limits {
            min_side: 1,
            max_decoded_bytes: limits.max_decoded_bytes.min(MAX_DECODED),
            ..limits.clone()
        };
        Self {
            compute: compute.clone(),
            limits,
            sides: sides.to_vec(),
        }
    }

    /// Reads all cells of these packs in turn. It waits whenever nobody took what was read, and ends when nobody will.
    pub(super) async fn run(
        self,
        store: Store,
        packs: VecDeque<(InputPack, Vec<Cell>)>,
        out: Sender<Result<Fetched, Failure>>,
    ) {
        let source = Arc::new(self);
        for (pack, cells) in packs {
            let reads = match source.open(&store, &pack, cells).await {
                Ok((reads, told)) => {
                    if out.send(Ok(told)).await.is_err() {
                        return;
                    }
                    reads
                }
                Err(failure) => {
                    // Nobody listens any more, or this is the last that they hear.
                    let _ = out.send(Err(failure)).await;
                    return;
                }
            };
            for read in reads {
                let fetched = Arc::clone(&source).fetch(&store, &pack, read).await;
                let is_over = fetched.is_err();
                if out.send(fetched).await.is_err() || is_over {
                    return;
                }
            }
        }
    }

    /// Finds cells in the directory of their pack.
    async fn open(
        &self,
        store: &Store,
        pack: &InputPack,
        cells: Vec<Cell>,
    ) -> Result<(VecDeque<Read>, Fetched), Failure> {
        let begun = Instant::now();
        let mut told = Fetched::default();
        let index = match read_index(store, pack).await? {
            Ok(index) => index,
            Err(lost) => {
                let reason = format!("{} cells lie in it and can't be read: {lost}", cells.len());
                told.reject(&pack.key, lost.code(), reason);
                return Ok((VecDeque::new(), told));
            }
        };
        let mut found: Vec<(Cell, PackEntry)> = Vec::with_capacity(cells.len());
        for cell in cells {
            if let Some(entry) = index.get(&cell.name) {
                found.push((cell, entry.clone()));
            } else {
                let reason = format!("it is not in pack `{}`", pack.key);
                told.reject(&cell.name, "missing", reason);
            }
        }
        found.sort_by_key(|(_, entry)| entry.range().start);
        let one: usize = self.sides.iter().map(|it| 3 * (it * it) as usize).sum();
        told.reading = begun.elapsed();
        Ok((plan(found, (MAX_PIXELS / one.max(1)).max(1)), told))
    }

    async fn fetch(
        self: Arc<Self>,
        store: &Store,
        pack: &InputPack,
        read: Read,
    ) -> Result<Fetched, Failure> {
        let begun = Instant::now();
        let bytes = store.get_range(&pack.key, read.range.clone()).await;
        let reading = begun.elapsed();
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                let n = read.cells.len();
                let reason = format!("{n} cells lie in it, and it is not there");
                let mut told = Fetched::default();
                told.reject(&pack.key, "missing", reason);
                return Ok(told);
            }
            Err(error) => {
                let what = format!("could not read pack `{}`", pack.key);
                return Err(Failure::of_store(what, error));
            }
        };
        let decoded = tokio::task::spawn_blocking(move || self.decode(&read, &bytes)).await;
        let decoded =
            decoded.map_err(|error| Failure::permanent("cells could not be decoded", error))?;
        Ok(Fetched { reading, ..decoded })
    }

    /// On the threads of the device: decoding takes what the network leaves.
    fn decode(&self, read: &Read, bytes: &Bytes) -> Fetched {
        let begun = Instant::now();
        let made: Vec<Result<Picture, String>> = self.compute.run(|| {
            let one = |(cell, entry): &(Cell, PackEntry)| {
                self.picture(cell, entry, bytes, read.range.start)
            };
            read.cells.par_iter().map(one).collect()
        });
        let mut fetched = Fetched {
            pictures: Vec::with_capacity(made.len()),
            ..Fetched::default()
        };
        for ((cell, _), made) in read.cells.iter().zip(made) {
            match made {
                Ok(picture) => fetched.pictures.push(picture),
                Err(reason) => fetched.reject(&cell.name, "damaged", reason),
            }
        }
        fetched.decoding = begun.elapsed();
        fetched
    }

    fn picture(
        &self,
        cell: &Cell,
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
fn plan(cells: Vec<(Cell, PackEntry)>, max_cells: usize) -> VecDeque<Read> {
    let mut reads: VecDeque<Read> = VecDeque::new();
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
        // All but the eleventh, whose megabyte is too much to be fetched along.
        let wanted = (0..40).filter(|it| *it != 10).map(|at| {
            let entry = &index.entries()[at];
            let name = entry.name.clone();
            (Cell { at, name }, entry.clone())
        });
        let reads = plan(wanted.collect(), 1000);
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
