//! The demo on real blood fields, and on copies of them under other names.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::data::{Folder, copy_tree};
use cellmill_tests::show::place::say;
use cellmill_tests::show::renamed::renamed;
use cellmill_tests::show::{Figures, Show};
use serde_json::json;

use crate::demo_report::{Demo, kept_by_split};

/// The names of the copies follow from them.
const NAMES_SEEDS: [u64; 2] = [20_190_523, 1_811_019];

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let from = show.options.data.join("bccd");
    let folder = Folder::read(&from)?;
    let place = show.make_place("bccd")?;

    let demo = Demo::run(show, &place.join("own"), Some(&from)).await?;
    demo.judge(show, figures, "bccd").await?;
    let (macro_f1, baseline) = (demo.number("macro_f1"), demo.number("baseline_macro_f1"));
    let unit = "colour histogram + logistic regression";
    figures.above("bccd.macro_f1_above_baseline", macro_f1, unit, baseline);
    let kept = kept_by_split(&from)?;
    let cases = json!(demo.kept_apart());
    figures.said("bccd.kept_apart", cases, "cases");
    figures.holds("bccd.kept_apart_as_split_csv", demo.kept_apart() == kept);

    let copy = place.join("renamed-data");
    renamed(&folder, &copy, NAMES_SEEDS[0])?;
    let other = Demo::run(show, &place.join("renamed"), Some(&copy)).await?;
    let kept = kept_by_split(&copy)?;
    figures.holds(
        "bccd.renamed.kept_apart_as_split_csv",
        other.kept_apart() == kept,
    );
    compare(figures, "bccd.renamed", &demo, &other)?;

    without_split(show, figures, &folder, &place).await
}

/// Nobody says which cases to keep apart: it follows from what they hold, not from how they are called.
async fn without_split(
    show: &Show,
    figures: &mut Figures,
    folder: &Folder,
    place: &Path,
) -> Result<()> {
    let plain = place.join("plain-data");
    for part in ["img", "csv"] {
        copy_tree(&folder.path.join(part), &plain.join(part))?;
    }
    let classes = folder.path.join("classes.json");
    if classes.exists() {
        fs::copy(&classes, plain.join("classes.json")).context("copy classes.json")?;
    }
    let copy = place.join("plain-renamed-data");
    renamed(&Folder::read(&plain)?, &copy, NAMES_SEEDS[1])?;
    let demo = Demo::run(show, &place.join("plain"), Some(&plain)).await?;
    let other = Demo::run(show, &place.join("plain-renamed"), Some(&copy)).await?;
    let name = "bccd.without_split_csv";
    figures.told(&format!("{name}.accuracy"), demo.number("accuracy"), "");
    figures.told(&format!("{name}.macro_f1"), demo.number("macro_f1"), "");
    compare(figures, &format!("{name}.renamed"), &demo, &other)
}

fn compare(figures: &mut Figures, name: &str, demo: &Demo, other: &Demo) -> Result<()> {
    let (own, other) = (demo.outcome()?, other.outcome()?);
    if own != other {
        say(format_args!("  was {own:?}, is {other:?}"));
    }
    figures.holds(&format!("{name}.same_figures"), own.has_figures_of(&other));
    figures.holds(&format!("{name}.same_model"), own.model == other.model);
    Ok(())
}
