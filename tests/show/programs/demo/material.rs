//! Small folders of photographs, made of larger ones or drawn here.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
pub(crate) use cellmill_tests::show::cases::some_cases;
use cellmill_tests::show::data::{CsvFile, Folder};
use cellmill_tests::show::renamed::place_file;

/// Copies a folder as the batch of another name, with the rows of its CSVs changed.
///
/// `change` is given the CSV and its lines below the header.
pub(crate) fn with_rows(
    folder: &Folder,
    batch: &str,
    to: &Path,
    mut change: impl FnMut(&CsvFile, Vec<String>) -> Vec<String>,
) -> Result<()> {
    for image in &folder.images {
        let case = to.join("img").join(batch).join(&image.case);
        place_file(&image.path, &case.join("Images").join(&image.name))?;
    }
    for csv in &folder.csvs {
        let text = fs::read_to_string(&csv.path).with_context(|| csv.key.clone())?;
        let mut lines = text.lines().map(str::to_owned);
        let mut kept = vec![
            lines
                .next()
                .with_context(|| format!("{} is empty", csv.key))?,
        ];
        kept.extend(change(
            csv,
            lines.filter(|it| !it.trim().is_empty()).collect(),
        ));
        let case = to.join("csv").join(batch).join(&csv.date).join(&csv.case);
        fs::create_dir_all(&case).context("make a folder")?;
        let path = case.join(format!("{}.csv", csv.stem));
        fs::write(&path, kept.join("\n") + "\n").context("write a CSV")?;
    }
    Ok(())
}

/// The class in a line of a CSV whose third column it is, as the documented ones have it.
pub(crate) fn class_of(line: &str) -> &str {
    line.split(',').nth(2).unwrap_or_default().trim()
}

/// The line with another class.
pub(crate) fn with_class(line: &str, class: &str) -> String {
    let mut fields: Vec<&str> = line.split(',').collect();
    if let Some(field) = fields.get_mut(2) {
        *field = class;
    }
    fields.join(",")
}
