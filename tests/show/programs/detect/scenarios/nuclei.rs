//! Nuclei segmented by networks that learned from two thirds of the pictures, judged on the third.

use anyhow::{Context as _, Result};
use cellmill_tests::show::{Figures, Show};
use serde_json::Value;

use crate::heard::{example, heard};

const F1: f64 = 0.80;
/// What Otsu's threshold with watershed reaches.
const CLASSICAL_F1: f64 = 0.51;

pub(super) fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let mut command = example("segment")?;
    command.arg("--data").arg(show.options.data.join("nuclei"));
    if show.options.quick {
        command.args(["--options", r#"{"epochs":2}"#]);
    }
    let said = heard(&mut command)?;
    let lines: Result<Vec<Value>, _> = said.lines().map(serde_json::from_str).collect();
    let lines = lines.context("the example says lines of JSON")?;
    let (all, folds) = lines.split_last().context("the example says something")?;
    let value = |it: &Value| it.as_f64().unwrap_or(f64::NAN);
    for fold in folds {
        let name = format!("nuclei.fold_{}", fold["fold"]);
        figures.told(&format!("{name}.train"), value(&fold["train_s"]), "s");
        let f1 = value(&fold["figures"]["all"]["f1"]);
        figures.told(&format!("{name}.f1"), f1, "at an overlap of half");
    }
    for (kind, it) in all.as_object().into_iter().flatten() {
        for name in ["ap50", "dice"] {
            figures.told(&format!("nuclei.{kind}.{name}"), value(&it[name]), "");
        }
        let unit = "at an overlap of half, mean over the pictures";
        figures.told(&format!("nuclei.{kind}.f1_of_kind"), value(&it["f1"]), unit);
    }
    let f1 = value(&all["all"]["f1"]);
    figures.at_least("nuclei.f1", f1, "mean over all pictures", F1);
    figures.above(
        "nuclei.f1.floor",
        f1,
        "beside Otsu + watershed",
        CLASSICAL_F1,
    );
    Ok(())
}
