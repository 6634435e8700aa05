//! Class folders that were imported and learned from as they were split, judged by the truth of the folders.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::class_folders::{ClassFolders, told_part};
use super::projects::Trained;
use super::scores::Scores;
use crate::show::Show;
use crate::show::http::text;
use crate::show::process::Mill;

/// Imports class folders as one batch, and reads the report.
pub async fn import(
    show: &Show,
    mill: &Mill,
    folders: &ClassFolders,
    batch: &str,
) -> Result<Value> {
    let path = folders.path.to_string_lossy();
    let args = ["import", &path, "--folders-as-classes", "--batch", batch];
    // The ids that the data means, also where a table of the server has another id for a name.
    let table = folders.path.join("classes.json");
    let table = table.to_string_lossy();
    let more = ["--class-table", &table, "--url", mill.url(), "--json"];
    let ran = show.program.run(&[&args[..], &more].concat()).await?;
    ran.must_be_ok("import --folders-as-classes")?.json()
}

/// What a training of two merged classes said of the part that it did not learn from.
#[derive(Debug)]
pub struct Judged {
    /// Truth and answer: 0 for negative, 1 for positive.
    pub scores: Scores,
    /// Cells that judged though their folder says otherwise, or the other way round.
    pub n_wrong_part: usize,
}

/// Judges the cells of the part that was not learned from, with the truth of their folders.
pub async fn judge(mill: &Mill, folders: &ClassFolders, trained: &Trained) -> Result<Judged> {
    let views = mill.client().all("/api/v1/images", &[]).await?;
    let sha256: HashMap<String, String> = views
        .iter()
        .map(|it| (text(&it["key"]), text(&it["sha256"])))
        .collect();
    let of_folder: HashMap<&str, _> = folders
        .images
        .iter()
        .map(|it| (it.sha256.as_str(), it))
        .collect();
    // Where no folder is called `test`, the one that is not learned from judges.
    let has_test = folders.images.iter().any(|it| it.part == "test");
    let judging = if has_test { "test" } else { "validation" };
    let mut pairs = Vec::new();
    let mut n_wrong_part = 0;
    for cell in &trained.cells {
        let sha256 = sha256
            .get(&cell.image)
            .context("split.csv names an unknown image")?;
        let image = of_folder
            .get(sha256.as_str())
            .context("an image that nobody sent")?;
        let is_judging = cell.part == "test";
        n_wrong_part += usize::from(is_judging != (told_part(&image.part) == judging));
        if is_judging {
            let is_positive = u32::from(!folders.negative.contains(&image.class));
            pairs.push((is_positive, cell.predicted));
        }
    }
    // The merged classes stand in the order of the command.
    let classes = trained.classes();
    let own = |class: u32| classes.iter().position(|it| *it == class).unwrap_or(99) as u32;
    let pairs = pairs.into_iter().map(|(truth, it)| (truth, own(it)));
    Ok(Judged {
        scores: Scores::of(pairs),
        n_wrong_part,
    })
}
