//! The same seed twice: the same cells, split, weights and predictions, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::data::{Folder, files_below};
use cellmill_tests::show::http::sha256_hex;
use cellmill_tests::show::learning::commands::{TrainWish, predict};
use cellmill_tests::show::learning::projects::Trained;
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::{Figures, Show};

use crate::material::some_cases;

const N_CASES: usize = 4;
const EPOCHS: u32 = 3;
const DATASET: &str = "Cells";
const TRAINING: &str = "Trained";
const OTHER: &str = "Other";
const PREDICTION: &str = "Predicted";
const SEED: u64 = 7;
/// What follows from data and seed alone: below these folders, by the ends of their names.
const RESULTS: [(&str, &[&str]); 3] = [
    ("datasets", &[".zip", "cellslist.csv"]),
    (
        "projects",
        &[
            "split.csv",
            "mod.json",
            "_labels.csv",
            "predict2.json",
            ".png",
        ],
    ),
    ("modules", &[".safetensors"]),
];

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let place = show.make_place("seed")?;
    let whole = Folder::read(&show.options.data.join("bccd"))?;
    let folder = some_cases(&whole, N_CASES, &place.join("data"))?;
    let first = once(show, &place.join("first"), &folder, &[]).await?;
    let facts = &first.trained.card["training"];
    figures.said("seed.threads", facts["threads"].clone(), "threads");
    let set = facts["instruction_set"].clone();
    figures.said("seed.instruction_set", set, "");
    figures.told("seed.files", first.results.len() as f64, "files");

    let again = once(show, &place.join("again"), &folder, &[]).await?;
    compare(figures, "seed.same_seed", &first, &again);
    for threads in ["1", "2"] {
        let settings = [("CELLMILL_THREADS", threads)];
        let root = place.join(format!("threads-{threads}"));
        let other = once(show, &root, &folder, &settings).await?;
        let told = &other.trained.card["training"]["threads"];
        figures.said(
            &format!("seed.threads_{threads}.told"),
            told.clone(),
            "threads",
        );
        compare(figures, &format!("seed.threads_{threads}"), &first, &other);
    }

    let mill = Mill::up(&show.program, &place.join("first")).await?;
    let wish = wish(OTHER, SEED + 1);
    let other = wish.trained(show, &mill).await?;
    mill.stop().await?;
    let is_other = other.model != first.trained.model;
    figures.holds("seed.other_seed_other_weights", is_other);
    Ok(())
}

fn wish(dir: &str, seed: u64) -> TrainWish<'_> {
    TrainWish {
        dataset: DATASET,
        dir,
        seed,
        epochs: Some(EPOCHS),
        ..TrainWish::default()
    }
}

/// What one way through everything left.
struct Once {
    trained: Trained,
    /// sha256 by key.
    results: BTreeMap<String, String>,
}

async fn once(
    show: &Show,
    root: &Path,
    folder: &Folder,
    settings: &[(&str, &str)],
) -> Result<Once> {
    let mill = Mill::up_with(&show.program, root, settings).await?;
    show.import(&folder.path, &mill).await?;
    let cells = Wish {
        dir: DATASET,
        data_type: "1",
        batches: folder.batches(),
        waits: true,
    };
    show.make_dataset(&mill, &cells).await?;
    let trained = wish(TRAINING, SEED).trained(show, &mill).await?;
    let ran = predict(show, &mill, DATASET, trained.mid, PREDICTION, &[]).await?;
    ran.must_be_ok("predict")?;
    mill.stop().await?;
    let mut results = BTreeMap::new();
    for (tree, ends) in RESULTS {
        for (key, path) in files_below(&root.join(tree))? {
            if ends.iter().any(|it| key.ends_with(it)) {
                let bytes = fs::read(&path).with_context(|| key.clone())?;
                results.insert(format!("{tree}/{key}"), sha256_hex(&bytes));
            }
        }
    }
    Ok(Once { trained, results })
}

fn compare(figures: &mut Figures, name: &str, first: &Once, other: &Once) {
    let keys: std::collections::BTreeSet<&String> =
        first.results.keys().chain(other.results.keys()).collect();
    let differing = keys
        .iter()
        .filter(|it| first.results.get(**it) != other.results.get(**it));
    let differing: Vec<_> = differing.collect();
    for key in differing.iter().take(10) {
        say(format_args!("  {name}: {key} differs"));
    }
    figures.exactly(
        &format!("{name}.files_that_differ"),
        differing.len(),
        "files",
        0,
    );
    let is_same = first.trained.model == other.trained.model;
    figures.holds(&format!("{name}.same_weights"), is_same);
}
