//! Pictures to look at: predicted cells by class, and a photograph with what was predicted on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cellmill_core::cell_name::CellName;
use cellmill_core::formats::PredictedCell;
use cellmill_core::ids::Dir;
use cellmill_core::keys::ObjectKey;
use cellmill_vision::draw::{Mark, class_color, contact_sheet, draw_marks};
use cellmill_vision::{Limits, RgbImage, decode, encode_png};

use crate::cli::Error;

use super::files;
use super::report::{Class, Pictures};
use super::stages::Way;

/// Cells of a class on the sheet: one row of the surest, one of the least sure.
const COLUMNS: usize = 12;
/// Pixels of a cell on the sheet.
const SIDE: u32 = 100;
/// The frame of a wrong answer.
const WRONG: [u8; 3] = [220, 30, 30];

/// Draws both and says where they lie.
pub(super) async fn draw(way: &Way<'_>, dir: &Dir, classes: &[Class]) -> Result<Pictures, Error> {
    let predicted = files::predictions(way.client, dir).await?.crop_cells;
    std::fs::create_dir_all(way.beside).map_err(Error::file("create", way.beside))?;
    let sheet = write(
        way.beside,
        "cells-by-class.png",
        &sheet(way, &predicted, classes).await?,
    )?;
    let overlay = overlay(way, &predicted, classes).await?;
    let overlay = write(way.beside, "photograph.png", &overlay)?;
    Ok(Pictures {
        sheet: sheet.display().to_string(),
        overlay: overlay.display().to_string(),
    })
}

fn write(folder: &Path, name: &str, image: &RgbImage) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    std::fs::write(&path, encode_png(image)).map_err(Error::file("write", &path))?;
    Ok(path)
}

/// Two rows a class: the surest cells, and the least sure.
async fn sheet(
    way: &Way<'_>,
    predicted: &[PredictedCell],
    classes: &[Class],
) -> Result<RgbImage, Error> {
    let mut by_class: BTreeMap<u32, Vec<&PredictedCell>> = BTreeMap::new();
    for cell in predicted {
        by_class.entry(cell.predict).or_default().push(cell);
    }
    let mut shown = Vec::new();
    for cells in by_class.values_mut() {
        cells.sort_by(|a, b| {
            b.probability
                .unwrap_or(0.0)
                .total_cmp(&a.probability.unwrap_or(0.0))
        });
        let surest = cells.iter().take(COLUMNS);
        let least = cells
            .iter()
            .skip(COLUMNS.max(cells.len().saturating_sub(COLUMNS)));
        for row in [surest.collect::<Vec<_>>(), least.collect()] {
            if row.is_empty() {
                continue;
            }
            for cell in &row {
                shown.push((picture(way, cell).await?, caption(cell, classes)));
            }
            let blank = || (RgbImage::filled(1, 1, [32; 3]), String::new());
            shown.extend((row.len()..COLUMNS).map(|_| blank()));
        }
    }
    Ok(contact_sheet(&shown, COLUMNS as u32, SIDE))
}

fn name(class: u32, classes: &[Class]) -> String {
    let found = classes.iter().find(|it| it.id == class);
    found.map_or_else(|| class.to_string(), |it| it.name.clone())
}

/// `LSIL .97`, or `LSIL NOT HSIL .61`.
fn caption(cell: &PredictedCell, classes: &[Class]) -> String {
    let score = format!("{:.2}", cell.probability.or(cell.score).unwrap_or(0.0));
    let score = score.strip_prefix('0').unwrap_or(&score);
    let predicted = name(cell.predict, classes);
    if cell.predict == cell.true_type {
        format!("{predicted} {score}")
    } else {
        format!("{predicted} NOT {} {score}", name(cell.true_type, classes))
    }
}

/// The cell's picture; a wrong answer has a frame.
async fn picture(way: &Way<'_>, cell: &PredictedCell) -> Result<RgbImage, Error> {
    let key = ObjectKey::parse(&cell.url)
        .ok()
        .flatten()
        .ok_or_else(|| Error::usage(format!("`{}` is no picture of a project", cell.url)))?;
    let mut image = read_image(way, &key).await?;
    if cell.predict != cell.true_type {
        let bbox = cellmill_core::boxes::BBox::new(0, 0, image.width, image.height);
        let mark = Mark {
            bbox,
            color: WRONG,
            label: String::new(),
        };
        draw_marks(&mut image, &[mark]);
    }
    Ok(image)
}

async fn read_image(way: &Way<'_>, key: &ObjectKey) -> Result<RgbImage, Error> {
    let (bytes, path) = files::read(way.client, key).await?;
    let image = decode(&bytes, &Limits::default()).map_err(|source| Error::Malformed {
        path: path.into(),
        source: source.into(),
    })?;
    Ok(image.image)
}

/// The photograph with the most classes on it, and of those with the most cells.
async fn overlay(
    way: &Way<'_>,
    predicted: &[PredictedCell],
    classes: &[Class],
) -> Result<RgbImage, Error> {
    let mut by_image: BTreeMap<u64, Vec<&PredictedCell>> = BTreeMap::new();
    for cell in predicted {
        by_image
            .entry(cell.imgid.unwrap_or_default())
            .or_default()
            .push(cell);
    }
    let richness = |cells: &Vec<&PredictedCell>| {
        let classes: BTreeSet<u32> = cells.iter().map(|it| it.true_type).collect();
        (classes.len(), cells.len())
    };
    let richest = by_image.iter().max_by_key(|(_, cells)| richness(cells));
    let Some((&imgid, cells)) = richest else {
        return Ok(RgbImage::filled(64, 64, [32; 3]));
    };
    let images = way.client.images(&[]).await?;
    let Some(image) = images.iter().find(|it| it.key.number() == imgid) else {
        return Ok(RgbImage::filled(64, 64, [32; 3]));
    };
    let mut picture = read_image(way, &ObjectKey::Image(image.key.clone())).await?;
    let marks: Vec<Mark> = cells.iter().filter_map(|it| mark(it, classes)).collect();
    draw_marks(&mut picture, &marks);
    Ok(picture)
}

fn mark(cell: &PredictedCell, classes: &[Class]) -> Option<Mark> {
    let file = cell.url.rsplit('/').next()?;
    let bbox = CellName::parse(file)
        .map(|it| it.kernel)
        .ok()
        .or(cell.crop)?;
    Some(Mark {
        bbox,
        color: if cell.predict == cell.true_type {
            class_color(cell.predict)
        } else {
            WRONG
        },
        label: caption(cell, classes),
    })
}
