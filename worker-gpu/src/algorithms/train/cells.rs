//! The pictures of the cells, part by part, and their copies in the project.

use std::sync::Arc;

use cellmill_core::ids::Dir;
use cellmill_core::keys::{ObjectKey, ProjectFile, ProjectFolder};
use cellmill_core::split::Part;
use cellmill_worker::{Context, Failure};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::catalogue::Catalogue;
use crate::bench::Bench;
use crate::cells::{CellReader, Picture, ReadTimes, Wanted};
use crate::network::Samples;

/// Copies of cells under `projects/<dir>/{train,test}/`: enough to look through, and not a second data set.
const MAX_COPIES: usize = 100_000;
/// Copies written at once: each waits for the disk.
const PARALLEL_WRITES: usize = 16;
/// How far reading is of the whole, in percent.
const PERCENT: f64 = 5.0;

/// The cells of one part, in the order of the catalogue.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Their places in the catalogue.
    pub(super) cells: Vec<usize>,
    pub(super) samples: Arc<Samples>,
}

/// All cells that could be read.
#[derive(Debug)]
pub(super) struct Shelves {
    pub(super) train: Shelf,
    pub(super) validation: Shelf,
    pub(super) test: Shelf,
    pub(super) times: ReadTimes,
}

impl Shelves {
    pub(super) const fn of(&self, part: Part) -> &Shelf {
        match part {
            Part::Train => &self.train,
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        }
    }
}

/// Where the copy of a cell lies: those that decide belong to the training.
pub(super) const fn folder_of(part: Part) -> ProjectFolder {
    match part {
        Part::Train | Part::Validation => ProjectFolder::Train,
        Part::Test => ProjectFolder::Test,
    }
}

/// What reading needs beside the cells.
pub(super) struct Loading<'a> {
    pub(super) bench: &'a Bench,
    pub(super) dir: &'a Dir,
    pub(super) catalogue: &'a Catalogue,
    /// Of each cell.
    pub(super) parts: &'a [Part],
    /// Ids of the classes.
    pub(super) types: &'a [u32],
    pub(super) side: u32,
}

impl Loading<'_> {
    /// Reads all cells and copies the first of them into the project.
    pub(super) async fn run(&self, context: &mut Context) -> Result<Shelves, Failure> {
        let n = self.parts.len();
        let mut filling = Part::ALL.map(|part| {
            let cells = (0..n).filter(|&it| self.parts[it] == part).collect();
            Filling::new(cells, self.side)
        });
        let mut reader = self.reader(0..n);
        let (mut n_read, mut n_copied) = (0, 0);
        while let Some(pictures) = reader.next(context).await? {
            for picture in &pictures {
                filling[self.parts[picture.at] as usize].put(picture.at, &picture.pixels[0]);
            }
            let n_copies = pictures.len().min(MAX_COPIES - n_copied);
            self.copy(&pictures[..n_copies], context).await?;
            n_copied += n_copies;
            n_read += pictures.len();
            let percent = PERCENT * n_read as f64 / n as f64;
            context.report(percent, &format!("reads cells, {n_read} of {n}"));
        }
        let [train, validation, test] =
            filling.map(|it| it.finish(|at| self.catalogue.cells[at].class, self.side));
        Ok(Shelves {
            train,
            validation,
            test,
            times: reader.times(),
        })
    }

    /// The pixels of these cells, which were read before, one after the other.
    pub(super) async fn again(
        &self,
        cells: &[usize],
        context: &Context,
    ) -> Result<Vec<u8>, Failure> {
        let mut filling = Filling::new(cells.to_vec(), self.side);
        let mut reader = self.reader(cells.iter().copied());
        while let Some(pictures) = reader.next(context).await? {
            for picture in pictures {
                filling.put(picture.at, &picture.pixels[0]);
            }
        }
        Ok(filling.pixels)
    }

    fn reader(&self, cells: impl IntoIterator<Item = usize>) -> CellReader {
        let wanted = cells.into_iter().map(|at| Wanted {
            at,
            pack: self.catalogue.pack(at),
            name: &self.catalogue.cell(at).name,
        });
        let bench = self.bench;
        CellReader::new(&bench.compute, &bench.limits, &[self.side], wanted)
    }

    async fn copy(&self, pictures: &[Picture], context: &Context) -> Result<(), Failure> {
        let copies: Vec<_> = pictures
            .iter()
            .map(|it| {
                let file = ProjectFile::Cell {
                    folder: folder_of(self.parts[it.at]),
                    class: self.types[self.catalogue.cells[it.at].class],
                    name: self.catalogue.cell(it.at).name.clone(),
                };
                (ObjectKey::Project(self.dir.clone(), file), it.png.clone())
            })
            .collect();
        stream::iter(copies)
            .map(|(key, png)| async move { context.write_cached(&key, png).await })
            .buffer_unordered(PARALLEL_WRITES)
            .try_collect()
            .await
    }
}

/// Pixels of one part on their way into their places.
struct Filling {
    cells: Vec<usize>,
    is_there: Vec<bool>,
    pixels: Vec<u8>,
    one: usize,
}

impl Filling {
    /// `cells` ascend.
    fn new(cells: Vec<usize>, side: u32) -> Self {
        let one = 3 * (side * side) as usize;
        Self {
            is_there: vec![false; cells.len()],
            pixels: vec![0; cells.len() * one],
            cells,
            one,
        }
    }

    fn put(&mut self, cell: usize, pixels: &[u8]) {
        if let Ok(at) = self.cells.binary_search(&cell) {
            self.pixels[at * self.one..][..self.one].copy_from_slice(pixels);
            self.is_there[at] = true;
        }
    }

    /// Closes the gaps of cells that could not be read.
    fn finish(mut self, class_of: impl Fn(usize) -> usize, side: u32) -> Shelf {
        let mut n = 0;
        for at in 0..self.cells.len() {
            if self.is_there[at] {
                self.cells[n] = self.cells[at];
                self.pixels
                    .copy_within(at * self.one..(at + 1) * self.one, n * self.one);
                n += 1;
            }
        }
        self.cells.truncate(n);
        self.pixels.truncate(n * self.one);
        let labels = self.cells.iter().map(|&it| class_of(it)).collect();
        let samples = Samples::try_new(side as usize, self.pixels, labels);
        Shelf {
            samples: Arc::new(samples.expect("each cell has its pixels and its label")),
            cells: self.cells,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_of_unread_cells_are_closed() {
        let mut filling = Filling::new(vec![2, 5, 7, 9], 1);
        filling.put(9, &[9; 3]);
        filling.put(5, &[5; 3]);
        filling.put(3, &[3; 3]);
        let shelf = filling.finish(|at| at % 2, 1);
        assert_eq!(shelf.cells, [5, 9]);
        assert_eq!(shelf.samples.pixels(), [5, 5, 5, 9, 9, 9]);
        assert_eq!(shelf.samples.labels(), [1, 1]);
    }
}
