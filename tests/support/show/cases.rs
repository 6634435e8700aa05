//! A part of a folder of photographs, for shows that need only some.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::data::Folder;
use super::renamed::place_file;

/// Copies the first cases of a folder, with its classes.
pub fn some_cases(folder: &Folder, n: usize, to: &Path) -> Result<Folder> {
    let place = |batch: &str, case: &str| format!("{batch}/{case}");
    let all: BTreeSet<String> = folder
        .images
        .iter()
        .map(|it| place(&it.batch, &it.case))
        .collect();
    let chosen: BTreeSet<String> = all.into_iter().take(n).collect();
    let images = folder
        .images
        .iter()
        .map(|it| (place(&it.batch, &it.case), &it.key, &it.path));
    let csvs = folder
        .csvs
        .iter()
        .map(|it| (place(&it.batch, &it.case), &it.key, &it.path));
    for (case, key, path) in images.chain(csvs) {
        if chosen.contains(&case) {
            place_file(path, &to.join(key))?;
        }
    }
    let classes = folder.path.join("classes.json");
    if classes.exists() {
        place_file(&classes, &to.join("classes.json"))?;
    }
    Folder::read(to)
}
