//! The images of a training with their cells, part by part.

use std::collections::BTreeMap;
use std::sync::Arc;

use cellmill_core::formats::CellImage;
use cellmill_core::split::Part;
use cellmill_nets::detector::LabelledBox;
use cellmill_worker::{Context, Failure};

use super::super::catalogue::Catalogue;
use super::super::learn::BEGIN;
use crate::algorithms::data::{ImageError, ImageReader};
use crate::bench::Bench;
use crate::detector::{SeenField, seen, side_of, zoom_for};

/// An image of the training.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    pub(super) image: CellImage,
    pub(super) part: Part,
    /// In pixels of the image.
    pub(super) cells: Vec<LabelledBox>,
}

/// The images that have cells, by content, and how many of their boxes nobody drew: squares around points.
pub(super) fn labelled(catalogue: &Catalogue, parts: &[Part]) -> Vec<Labelled> {
    let mut images: BTreeMap<(String, String), Labelled> = BTreeMap::new();
    for (at, entry) in catalogue.cells.iter().enumerate() {
        let (image, cell) = (catalogue.image(at), catalogue.cell(at));
        let it = cell.kernel.unwrap_or(cell.crop);
        let bbox = [it.x1, it.y1, it.x2, it.y2].map(|it| it as f32);
        // An image is one thing: where its cells were dealt out apart, the first decides.
        let labelled = images
            .entry((image.sha256.clone(), image.key.clone()))
            .or_insert_with(|| Labelled {
                image: image.clone(),
                part: parts[at],
                cells: Vec::new(),
            });
        labelled.cells.push(LabelledBox {
            class: entry.class,
            bbox,
        });
    }
    images.into_values().collect()
}

/// Pixels that the network sees for one of the image, by the cells to learn from.
pub(super) fn zoom(images: &[Labelled]) -> f64 {
    let train = images.iter().filter(|it| it.part == Part::Train);
    let boxes = train.flat_map(|it| &it.cells);
    zoom_for(boxes.map(|it| side_of(&it.bbox)).collect())
}

/// Fields of one part, in the order of their images.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) images: Vec<CellImage>,
    pub(super) fields: Arc<Vec<SeenField>>,
}

impl Shelf {
    pub(super) fn n_cells(&self) -> u64 {
        let cells = self.fields.iter().map(|it| it.truth.len() as u64);
        cells.sum()
    }
}

/// Reads all images in the size that the network sees. One that can't be used is left out, with its reason.
pub(super) async fn read(
    bench: &Bench,
    images: Vec<Labelled>,
    zoom: f64,
    context: &mut Context,
) -> Result<[Shelf; 3], Failure> {
    let reader = ImageReader::new(bench.limits.clone(), bench.budget.clone());
    let mut shelves: [(Vec<CellImage>, Vec<SeenField>); 3] = Default::default();
    let n = images.len();
    for (at, it) in images.into_iter().enumerate() {
        context.check_stop()?;
        let Labelled { image, part, cells } = it;
        let opened = reader.open_bytes(context.store(), &image.key, &image.sha256);
        match opened.await {
            Ok(decoded) => {
                let shelf = &mut shelves[part as usize];
                shelf.1.push(seen(&decoded.image, zoom, cells));
                shelf.0.push(image);
            }
            Err(ImageError::Rejected { code, reason }) => {
                context.rejected(&image.key, code, reason);
            }
            Err(ImageError::Failed(failure)) => return Err(failure),
        }
        let percent = BEGIN * (at + 1) as f64 / n as f64;
        context.report(percent, &format!("reads images, {} of {n}", at + 1));
    }
    Ok(shelves.map(|(images, fields)| Shelf {
        images,
        fields: Arc::new(fields),
    }))
}
