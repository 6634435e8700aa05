//! Cells in a folder for each class, learned as the folders split them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cellmill_tests::show::http::text;
use cellmill_tests::show::learning::class_folders::{ClassFolders, part_of};
use cellmill_tests::show::learning::commands::{TrainWish, epochs};
use cellmill_tests::show::learning::folder_split::{self, Judged};
use cellmill_tests::show::learning::projects::{Trained, id};
use cellmill_tests::show::learning::scores::{Scores, mean};
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::tree::Tree;
use cellmill_tests::show::{Figures, Show};
/// An import that has ended leaves nothing to be done for long.
const STILL: Duration = Duration::from_mins(1);
const BATCH: &str = "show";
const DATASET: &str = "Whole";
/// Better than features of a network trained on photographs with a logistic regression (the data's README).
const BALANCED: f64 = 0.74;
const SEEDS: [u64; 3] = [1, 2, 3];

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folders = ClassFolders::read(&show.options.data.join("cells"))?;
    let root = show.make_place("cells")?.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    import(show, figures, &mill, &folders).await?;
    let wish = Wish {
        dir: DATASET,
        data_type: "3",
        batches: vec![BATCH],
        waits: true,
    };
    show.make_dataset(&mill, &wish).await?;
    let seeds = if show.options.quick {
        &SEEDS[..1]
    } else {
        &SEEDS
    };
    let mut judged = Vec::new();
    let mut baselines = Vec::new();
    for &seed in seeds {
        let name = format!("cells.seed_{seed}");
        let trained = train(show, &mill, &folders, seed).await?;
        let scores = judge(figures, &mill, &folders, &trained, &name).await?;
        judged.push(scores.balanced_accuracy());
        baselines.push(trained.figure("baseline", "balanced_accuracy"));
    }
    let unit = "mean over the seeds, histogram + logistic regression";
    figures.told("cells.baseline_balanced_accuracy", mean(baselines), unit);
    let unit = "mean over the seeds";
    figures.above("cells.balanced_accuracy", mean(judged), unit, BALANCED);
    mill.stop().await?;
    figures.holds("cells.verify_finds_nothing", show.is_verified(&root).await?);
    Ok(())
}

/// Every image is recorded with the class and the part of its folder; a repeat changes nothing.
async fn import(
    show: &Show,
    figures: &mut Figures,
    mill: &Mill,
    folders: &ClassFolders,
) -> Result<()> {
    let report = folder_split::import(show, mill, folders, BATCH).await?;
    let seconds = report["elapsed_ms"].as_f64().unwrap_or(f64::NAN) / 1000.0;
    figures.told("cells.import_seconds", seconds, "s");
    let views = mill
        .client()
        .all("/api/v1/images", &[("state", "ok")])
        .await?;
    let n = folders.images.len();
    figures.exactly("cells.images_recorded", views.len(), "images", n);

    let mut counts: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for view in &views {
        let key = text(&view["key"]);
        let label = mill
            .client()
            .get("/api/v1/image/label", &[("key", &key)])
            .await;
        let class = label.ok().and_then(|it| id(&it["image_class"]["class"]));
        if let Some(class) = class {
            *counts.entry((part_of(view), class)).or_default() += 1;
        }
    }
    let expected = folders.counts();
    for ((part, class), n) in &expected {
        let told = counts.get(&(part.clone(), *class)).copied().unwrap_or(0);
        figures.exactly(
            &format!("cells.labelled.{part}.{class}"),
            told,
            "images",
            *n,
        );
    }
    figures.holds("cells.no_other_labels", counts.keys().eq(expected.keys()));

    let still = async || Tree::still(mill.root(), Tree::exact, STILL).await;
    let before = still().await?;
    let again = folder_split::import(show, mill, folders, BATCH).await?;
    let sent = again["n_sent"]
        .as_u64()
        .context("no n_sent in the report")?;
    figures.exactly("cells.sent_by_a_repeat", sent as usize, "files", 0);
    let differences = before.differences(&still().await?);
    for it in differences.iter().take(10) {
        say(format_args!("  {it}"));
    }
    let n_changed = differences.len();
    figures.exactly("cells.files_changed_by_a_repeat", n_changed, "files", 0);
    Ok(())
}

async fn train(show: &Show, mill: &Mill, folders: &ClassFolders, seed: u64) -> Result<Trained> {
    let dir = format!("Seed{seed}");
    let wish = TrainWish {
        dataset: DATASET,
        dir: &dir,
        seed,
        epochs: epochs(show),
        more: &["--merge", &folders.merge(), "--split", "fixed"],
    };
    wish.trained(show, mill).await
}

/// The cells of the part that was not learned from, with the truth of their folders.
async fn judge(
    figures: &mut Figures,
    mill: &Mill,
    folders: &ClassFolders,
    trained: &Trained,
    name: &str,
) -> Result<Scores> {
    let Judged {
        scores,
        n_wrong_part,
    } = folder_split::judge(mill, folders, trained).await?;
    figures.exactly(
        &format!("{name}.cells_in_the_wrong_part"),
        n_wrong_part,
        "cells",
        0,
    );
    figures.told(&format!("{name}.accuracy"), scores.accuracy(), "");
    let balanced = scores.balanced_accuracy();
    figures.told(&format!("{name}.balanced_accuracy"), balanced, "");
    figures.told(&format!("{name}.macro_f1"), scores.macro_f1(), "");
    let told = trained.figure("test", "balanced_accuracy");
    figures.holds(
        &format!("{name}.as_the_card_says"),
        (told - balanced).abs() < 1e-9,
    );
    Ok(scores)
}
