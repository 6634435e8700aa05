//! From photographs to predictions by command, the same in every home.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cellmill_tests::aws::Door;
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::place::say;

pub(crate) const DATASET: &str = "Cells";
pub(crate) const TRAINED: &str = "Trained";
pub(crate) const PREDICTED: &str = "Predicted";
/// The first model of a fresh lab: numbers begin at 100.
pub(crate) const MODEL: &str = "100";
const EPOCHS: &str = "2";

/// What each stage took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Took {
    pub(crate) import: Duration,
    pub(crate) dataset: Duration,
    pub(crate) training: Duration,
    pub(crate) prediction: Duration,
}

impl Took {
    /// As progress.
    pub(crate) fn tell(&self) {
        say(format_args!(
            "  import {:.1?}, data set {:.1?}, training {:.1?}, prediction {:.1?}",
            self.import, self.dataset, self.training, self.prediction
        ));
    }
}

/// Goes the whole way.
pub(crate) async fn run(door: &Door, folder: &Folder) -> Result<Took> {
    let begun = Instant::now();
    import(door, &folder.path).await?;
    let imported = Instant::now();
    dataset(door, DATASET, &folder.batches()).await?;
    let cut = Instant::now();
    let train = ["train", DATASET, "--dir", TRAINED, "--seed", "1"];
    let small = ["--epochs", EPOCHS, "--scale", "small"];
    door.json(&[&train[..], &small].concat()).await?;
    let trained = Instant::now();
    door.json(&["predict", DATASET, "--model", MODEL, "--dir", PREDICTED])
        .await?;
    Ok(Took {
        import: imported - begun,
        dataset: cut - imported,
        training: trained - cut,
        prediction: trained.elapsed(),
    })
}

/// Sends a folder and waits until everything is looked at.
pub(crate) async fn import(door: &Door, folder: &Path) -> Result<()> {
    let folder = folder.to_string_lossy();
    door.json(&["import", &folder]).await.map(drop)
}

/// Cuts the labelled cells of batches.
pub(crate) async fn dataset(door: &Door, dir: &str, batches: &[&str]) -> Result<()> {
    let mut args = vec!["dataset", "create", "--type", "1", "--dir", dir, "--wait"];
    for batch in batches {
        args.extend(["--batch", batch]);
    }
    let made = door.json(&args).await;
    made.map(drop).with_context(|| format!("data set {dir}"))
}

/// The classes of a folder, sent as a folder without photographs: what is put into the bucket by hand has none.
pub(crate) async fn define_classes(door: &Door, folder: &Folder, place: &Path) -> Result<()> {
    let classes = folder.path.join("classes.json");
    if !classes.exists() {
        return Ok(());
    }
    for part in ["img", "csv"] {
        std::fs::create_dir_all(place.join(part)).context("make a folder")?;
    }
    std::fs::copy(&classes, place.join("classes.json")).context("copy classes.json")?;
    import(door, place).await
}
