//! All cells that take part, in an order that names do not decide.

use cellmill_core::boxes::BBox;
use cellmill_core::formats::{CellImage, InputCell, InputPack, ProjectInput};
use cellmill_core::ids::Dir;
use cellmill_core::random::SplitMix;
use cellmill_core::training::TrainParameters;
use cellmill_worker::{Context, Failure};

use super::parts::Member;
use crate::cells::read_piece;

/// Labels are shuffled with other numbers than anything else is drawn with.
const SHUFFLE: u64 = 0x6c61_6265_6c73;

/// The frozen cells of a training.
#[derive(Debug)]
pub(super) struct Catalogue {
    pieces: Vec<ProjectInput>,
    /// By content: image, place, class. Two cells that are equal in these look the same, so which of them comes first
    /// is no matter.
    pub(super) cells: Vec<Entry>,
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    piece: usize,
    at: usize,
    /// Place of the data set's class among those that take part.
    source: usize,
    /// Index of the class it counts as.
    pub(super) class: usize,
}

impl Catalogue {
    /// Reads all pieces.
    pub(super) async fn read(
        context: &mut Context,
        dir: &Dir,
        parameters: &TrainParameters,
    ) -> Result<Self, Failure> {
        let mut pieces = Vec::new();
        loop {
            context.check_stop()?;
            context.report(
                0.0,
                &format!("reads the list of cells, piece {}", pieces.len() + 1),
            );
            match read_piece(context.store(), dir, pieces.len() as u32).await? {
                Some(piece) => pieces.push(piece),
                None => return Ok(Self::of(pieces, parameters)),
            }
        }
    }

    fn of(pieces: Vec<ProjectInput>, parameters: &TrainParameters) -> Self {
        let sources = parameters.source_classes();
        let entry = |piece: usize, at: usize, cell: &InputCell| {
            Some(Entry {
                piece,
                at,
                source: sources.iter().position(|it| *it == cell.class)?,
                class: parameters.class_of(cell.class)?,
            })
        };
        let of_piece = |(number, piece): (usize, &ProjectInput)| {
            let cells = piece.cells.iter().enumerate();
            cells
                .filter_map(|(at, cell)| entry(number, at, cell))
                .collect::<Vec<_>>()
        };
        let mut cells: Vec<Entry> = pieces.iter().enumerate().flat_map(of_piece).collect();
        let key = |it: &Entry| {
            let piece = &pieces[it.piece];
            let cell = &piece.cells[it.at];
            let sha256 = &piece.images[cell.image as usize].sha256;
            let place = [cell.crop.x1, cell.crop.y1, cell.crop.x2, cell.crop.y2];
            (sha256, place, cell.class, it.piece, it.at)
        };
        cells.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut catalogue = Self { pieces, cells };
        if parameters.shuffle_labels {
            catalogue.shuffle_labels(parameters.seed);
        }
        catalogue
    }

    fn shuffle_labels(&mut self, seed: u64) {
        let mut labels: Vec<usize> = self.cells.iter().map(|it| it.class).collect();
        SplitMix::new(seed ^ SHUFFLE).shuffle(&mut labels);
        for (cell, label) in self.cells.iter_mut().zip(labels) {
            cell.class = label;
        }
    }

    pub(super) fn cell(&self, at: usize) -> &InputCell {
        let it = &self.cells[at];
        &self.pieces[it.piece].cells[it.at]
    }

    /// How many cells have a box of their own, and not the square that is cut around a point.
    pub(super) fn n_drawn(&self) -> usize {
        let is_drawn = |at: &usize| {
            let cell = self.cell(*at);
            let square = |it: &BBox| [it.x2 - it.x1, it.y2 - it.y1];
            cell.kernel
                .is_some_and(|it| square(&it) != square(&cell.crop))
        };
        (0..self.cells.len()).filter(is_drawn).count()
    }

    pub(super) fn image(&self, at: usize) -> &CellImage {
        let piece = &self.pieces[self.cells[at].piece];
        &piece.images[self.cell(at).image as usize]
    }

    pub(super) fn pack(&self, at: usize) -> &InputPack {
        let piece = &self.pieces[self.cells[at].piece];
        &piece.packs[self.cell(at).pack as usize]
    }

    /// The cells in the order of the list of cells.
    pub(super) fn listed(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.cells.len()).collect();
        order.sort_by_key(|&it| (self.cells[it].piece, self.cells[it].at));
        order
    }

    /// What the split has to know.
    pub(super) fn members(&self) -> Vec<Member<'_>> {
        let mut members: Vec<Member<'_>> = (0..self.cells.len())
            .map(|at| {
                let image = self.image(at);
                Member {
                    sha256: &image.sha256,
                    batch: &image.batch,
                    case: &image.case,
                    crop: self.cell(at).crop,
                    class: self.cells[at].class,
                    part: image.part,
                    legacy_place: (self.cells[at].source, 0),
                }
            })
            .collect();
        for (place, at) in self.listed().into_iter().enumerate() {
            members[at].legacy_place.1 = place;
        }
        members
    }
}
