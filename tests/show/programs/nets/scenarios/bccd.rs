//! Three kinds of blood cells, in cases that were kept apart, with the settings that nobody chose.

use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::http::text;
use cellmill_tests::show::learning::commands::epochs;
use cellmill_tests::show::learning::projects::predicted;
use cellmill_tests::show::{Figures, Show};

const ACCURACY: f64 = 0.98;
const MACRO_F1: f64 = 0.95;

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let root = show.make_place("bccd")?.join("root");
    let (root, from) = (root.to_string_lossy(), show.options.data.join("bccd"));
    let (from, epochs) = (
        from.to_string_lossy(),
        epochs(show).map(|it| it.to_string()),
    );
    let mut args = vec!["demo", "--json", "--root", &root, "--from", &from];
    if let Some(epochs) = &epochs {
        args.extend(["--epochs", epochs]);
    }
    let report = show.program.run(&args).await?.must_be_ok("demo")?.json()?;
    // Counted here, from the answers: what the report says of itself must be the same.
    let path = text(&report["paths"]["predictions"]);
    let scores = predicted(Path::new(&path)).context("read the predictions")?;
    figures.told("bccd.predicted", scores.n() as f64, "cells");
    figures.told("bccd.classes", scores.truths().len() as f64, "classes");
    figures.at_least("bccd.accuracy", scores.accuracy(), "", ACCURACY);
    figures.at_least("bccd.macro_f1", scores.macro_f1(), "", MACRO_F1);
    figures.told("bccd.balanced_accuracy", scores.balanced_accuracy(), "");
    figures.told("bccd.majority_accuracy", scores.majority(), "");
    let told = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
    let unit = "histogram + logistic regression";
    figures.told("bccd.baseline_accuracy", told("baseline_accuracy"), unit);
    figures.told("bccd.baseline_macro_f1", told("baseline_macro_f1"), unit);
    let seconds = report["seconds"].as_object().into_iter().flatten();
    for (stage, seconds) in seconds {
        let seconds = seconds.as_f64().unwrap_or(f64::NAN);
        figures.told(&format!("bccd.seconds.{stage}"), seconds, "s");
    }
    let is_same = (told("accuracy") - scores.accuracy()).abs() < 1e-9
        && (told("macro_f1") - scores.macro_f1()).abs() < 1e-9;
    figures.holds("bccd.figures_as_counted", is_same);
    Ok(())
}
