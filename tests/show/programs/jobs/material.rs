//! Photographs for the scenarios: a few real ones, or many that are next to nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::Show;
use cellmill_tests::show::data::{Folder, stem};
use cellmill_tests::show::picture::grey_png;
use cellmill_tests::show::renamed::place_file;

/// Images of one case of the many.
const OF_A_CASE: u32 = 100;
/// The side of a photograph that costs nothing to look at, in pixels.
const SIDE: u32 = 32;

/// The folder that is taken: the first with points, else the first.
pub(crate) fn photographs(show: &Show) -> Result<Folder> {
    let mut folders = show.folders()?;
    let at = folders.iter().position(|it| !it.csvs.is_empty());
    Ok(folders.swap_remove(at.unwrap_or(0)))
}

/// Copies the first photographs of a folder, with their points and its classes.
pub(crate) fn some_images(folder: &Folder, n: usize, to: &Path) -> Result<Folder> {
    let mut chosen = BTreeSet::new();
    for image in folder.images.iter().take(n) {
        chosen.insert([image.batch.as_str(), &image.case, stem(&image.name)]);
        place_file(&image.path, &to.join(&image.key))?;
    }
    for csv in &folder.csvs {
        if chosen.contains(&[csv.batch.as_str(), &csv.case, &csv.stem]) {
            place_file(&csv.path, &to.join(&csv.key))?;
        }
    }
    let classes = folder.path.join("classes.json");
    if classes.exists() {
        place_file(&classes, &to.join("classes.json"))?;
    }
    Folder::read(to)
}

/// Small photographs without anything on them, as many as each batch is to have.
pub(crate) fn tiny(batches: &[(&str, u32)], to: &Path) -> Result<()> {
    fs::create_dir_all(to.join("csv")).context("make a folder")?;
    for (batch, n) in batches {
        for image in 0..*n {
            let case = format!("c{:03}", image / OF_A_CASE);
            let folder = to.join("img").join(batch).join(case).join("Images");
            fs::create_dir_all(&folder).context("make a folder")?;
            let png = grey_png(SIDE, SIDE, (image % 251) as u8)?;
            let path = folder.join(format!("{image:05}.png"));
            fs::write(&path, png).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}
