//! Cells of Pap smears, split by case: the honest figure, without a goal but chance.

use anyhow::Result;
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::learning::commands::{TrainWish, epochs};
use cellmill_tests::show::place::Wish;
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::{Figures, Show};
use serde_json::json;

const DATASET: &str = "Smears";

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folder = Folder::read(&show.options.data.join("cric"))?;
    let root = show.make_place("cric")?.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    show.import(&folder.path, &mill).await?;
    let wish = Wish {
        dir: DATASET,
        data_type: "1",
        batches: folder.batches(),
        waits: true,
    };
    show.make_dataset(&mill, &wish).await?;
    let wish = TrainWish {
        dataset: DATASET,
        dir: "Trained",
        seed: 1,
        epochs: epochs(show),
        ..TrainWish::default()
    };
    let trained = wish.trained(show, &mill).await?;

    for (part, n) in trained.parts() {
        figures.told(&format!("cric.cells.{part}"), n as f64, "cells");
    }
    figures.exactly(
        "cric.cases_on_both_sides",
        cases_on_both_sides(&trained),
        "cases",
        0,
    );
    let scores = trained.scores("test");
    for (name, own) in [
        ("accuracy", scores.accuracy()),
        ("balanced_accuracy", scores.balanced_accuracy()),
        ("macro_f1", scores.macro_f1()),
    ] {
        figures.told(&format!("cric.{name}"), own, "");
        let baseline = trained.figure("baseline", name);
        let unit = "colour histogram + logistic regression";
        figures.told(&format!("cric.baseline_{name}"), baseline, unit);
    }
    figures.told("cric.majority_accuracy", scores.majority(), "");
    let chance = 1.0 / trained.classes().len() as f64;
    figures.at_least(
        "cric.not_below_chance",
        scores.balanced_accuracy(),
        "balanced",
        chance,
    );
    let baseline = trained.figure("baseline", "balanced_accuracy");
    let is_above = scores.balanced_accuracy() > baseline;
    figures.said(
        "cric.above_baseline",
        json!(is_above),
        "by balanced accuracy",
    );
    let told = trained.figure("test", "balanced_accuracy");
    let is_same = (told - scores.balanced_accuracy()).abs() < 1e-9;
    figures.holds("cric.as_the_card_says", is_same);
    mill.stop().await
}

/// Cases that are learned from and judge.
fn cases_on_both_sides(trained: &cellmill_tests::show::learning::projects::Trained) -> usize {
    let cases = |is_wanted: &dyn Fn(&str) -> bool| -> std::collections::BTreeSet<&str> {
        let cells = trained.cells.iter().filter(|it| is_wanted(&it.part));
        // `img/<batch>/<case>/Images/<name>`
        cells
            .filter_map(|it| it.image.rsplit_once("/Images/"))
            .map(|it| it.0)
            .collect()
    };
    let learned = cases(&|part| part != "test");
    learned.intersection(&cases(&|part| part == "test")).count()
}
