//! One run of `cellmill demo`, and what its report says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cellmill_tests::show::data::{Folder, size_of};
use cellmill_tests::show::http::{sha256_hex, text};
use cellmill_tests::show::learning::commands::epochs;
use cellmill_tests::show::learning::projects::{id, predicted};
use cellmill_tests::show::learning::scores::Scores;
use cellmill_tests::show::picture::decoded_png;
use cellmill_tests::show::place::say;
use cellmill_tests::show::{Figures, Show, table};
use serde_json::{Value, json};

/// Whole cases that were never seen are told apart this well.
const ACCURACY: f64 = 0.97;
const MACRO_F1: f64 = 0.93;

/// What `cellmill demo --json` said.
#[derive(Debug)]
pub(crate) struct Demo {
    root: PathBuf,
    report: Value,
}

/// What must be the same whatever batches, cases and files are called.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    accuracy: Value,
    macro_f1: Value,
    confusion: Value,
    /// sha256 of the model file.
    pub(crate) model: String,
}

impl Outcome {
    /// The same accuracy, macro-F1 and confusion, to the last digit?
    pub(crate) fn has_figures_of(&self, other: &Self) -> bool {
        let figures = |it: &Self| [&it.accuracy, &it.macro_f1, &it.confusion].map(Value::clone);
        figures(self) == figures(other)
    }
}

impl Demo {
    /// Runs it over a new root in `place`; on synthetic photographs unless there is a folder.
    pub(crate) async fn run(show: &Show, place: &Path, from: Option<&Path>) -> Result<Self> {
        fs::create_dir_all(place).context("make a place")?;
        let root = place.join("root");
        let (root_text, epochs) = (
            root.to_string_lossy(),
            epochs(show).map(|it| it.to_string()),
        );
        let mut args = vec!["demo", "--json", "--root", &root_text];
        let from = from.map(Path::to_string_lossy);
        if let Some(from) = &from {
            args.extend(["--from", from]);
        }
        if let Some(epochs) = &epochs {
            args.extend(["--epochs", epochs]);
        }
        let report = show.program.run(&args).await?.must_be_ok("demo")?.json()?;
        Ok(Self { root, report })
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.report[name].as_f64().unwrap_or(f64::NAN)
    }

    pub(crate) fn outcome(&self) -> Result<Outcome> {
        let model = text(&self.report["paths"]["model"]);
        let bytes = fs::read(&model).with_context(|| format!("read the model `{model}`"))?;
        Ok(Outcome {
            accuracy: self.report["accuracy"].clone(),
            macro_f1: self.report["macro_f1"].clone(),
            confusion: self.report["confusion"].clone(),
            model: sha256_hex(&bytes),
        })
    }

    /// Everything that holds of any demo.
    pub(crate) async fn judge(&self, show: &Show, figures: &mut Figures, name: &str) -> Result<()> {
        let figure = |it: &str| format!("{name}.{it}");
        self.quality(figures, name);
        for it in ["images", "n_train", "n_predicted"] {
            figures.told(&figure(it), self.number(it), "");
        }
        for (data_type, n) in self.report["cells"].as_object().into_iter().flatten() {
            let cells = format!("{name}.cells_of_type_{data_type}");
            figures.told(&cells, n.as_f64().unwrap_or(f64::NAN), "cells");
        }
        for it in ["recall", "precision"] {
            figures.told(&figure(it), self.number(it), "IoU 0.5");
        }
        let mut total = 0.0;
        for (stage, seconds) in self.report["seconds"].as_object().into_iter().flatten() {
            let seconds = seconds.as_f64().unwrap_or(f64::NAN);
            total += seconds;
            figures.told(&format!("{name}.seconds.{stage}"), seconds, "s");
        }
        figures.told(&figure("seconds"), total, "s");
        self.predictions(figures, name)?;
        self.files(figures, name)?;
        let is_verified = show.is_verified(&self.root).await?;
        figures.holds(&figure("verify_finds_nothing"), is_verified);
        Ok(())
    }

    fn quality(&self, figures: &mut Figures, name: &str) {
        let figure = |it: &str| format!("{name}.{it}");
        let accuracy = self.number("accuracy");
        figures.at_least(&figure("accuracy"), accuracy, "", ACCURACY);
        figures.at_least(&figure("macro_f1"), self.number("macro_f1"), "", MACRO_F1);
        let balanced = self.number("balanced_accuracy");
        figures.told(&figure("balanced_accuracy"), balanced, "");
        let baseline = self.number("baseline_accuracy");
        let unit = "colour histogram + logistic regression";
        figures.above(&figure("accuracy_above_baseline"), accuracy, unit, baseline);
    }

    /// The kept-apart cases, as `<batch>/<case>`.
    pub(crate) fn kept_apart(&self) -> BTreeSet<String> {
        let listed = self.report["kept_apart"].as_array().into_iter().flatten();
        listed.map(text).collect()
    }

    /// Every labelled cell of the kept-apart cases was predicted, and the figures are what the answers give.
    fn predictions(&self, figures: &mut Figures, name: &str) -> Result<()> {
        let path = text(&self.report["paths"]["predictions"]);
        let scores = predicted(Path::new(&path)).context("read the predictions")?;
        let labelled = self.labelled()?;
        let n: usize = labelled.values().sum();
        figures.exactly(&format!("{name}.predicted_cells"), scores.n(), "cells", n);
        let by_truth = scores.by_truth();
        if by_truth != labelled {
            say(format_args!(
                "  labelled {labelled:?}, predicted {by_truth:?}"
            ));
        }
        figures.holds(
            &format!("{name}.predicted_as_labelled"),
            by_truth == labelled,
        );
        let is_same = self.says(&scores);
        figures.holds(&format!("{name}.figures_as_counted"), is_same);
        Ok(())
    }

    /// Does the report say what the cells say?
    fn says(&self, scores: &Scores) -> bool {
        let listed = self.report["classes"].as_array().into_iter().flatten();
        let classes: Vec<u32> = listed.filter_map(|it| id(&it["id"])).collect();
        let own = [
            ("accuracy", scores.accuracy()),
            ("balanced_accuracy", scores.balanced_accuracy()),
            ("macro_f1", scores.macro_f1()),
            ("majority_accuracy", scores.majority()),
        ];
        let differs = own
            .iter()
            .find(|(name, it)| (self.number(name) - it).abs() > 1e-9);
        if let Some((name, it)) = differs {
            let told = self.number(name);
            say(format_args!(
                "  {name} is {it} by the cells, told is {told}"
            ));
        }
        differs.is_none() && json!(scores.matrix(&classes)) == self.report["confusion"]
    }

    /// Labelled cells of the kept-apart cases, by class, counted in the CSVs.
    fn labelled(&self) -> Result<BTreeMap<u32, usize>> {
        let folder = Folder::read(Path::new(&text(&self.report["from"])))?;
        let kept = self.kept_apart();
        let images = folder.images.iter();
        let images = images.filter(|it| kept.contains(&format!("{}/{}", it.batch, it.case)));
        let mut sizes = std::collections::HashMap::new();
        for image in images {
            let bytes = fs::read(&image.path).with_context(|| image.key.clone())?;
            let size = size_of(&bytes).with_context(|| format!("the size of {}", image.key))?;
            sizes.insert(image.key.clone(), size);
        }
        let mut counts = BTreeMap::new();
        let rows = folder.truth(&sizes)?;
        for row in rows.values().flatten().filter(|it| !it.is_repeat) {
            *counts.entry(row.class).or_default() += 1;
        }
        Ok(counts)
    }

    /// Everything that the report names is there, and pictures are pictures.
    fn files(&self, figures: &mut Figures, name: &str) -> Result<()> {
        let mut named = vec![text(&self.report["root"])];
        for group in ["paths", "pictures"] {
            let paths = self.report[group]
                .as_object()
                .context("paths in the report")?;
            named.extend(paths.values().map(text));
        }
        let mut n_there = 0;
        for path in named.iter().map(Path::new) {
            let is_picture = path.extension().is_some_and(|it| it == "png");
            let is_there = if is_picture {
                fs::read(path).is_ok_and(|bytes| decoded_png(&bytes).is_ok())
            } else {
                path.exists()
            };
            if !is_there {
                say(format_args!(
                    "  {} is not what it should be",
                    path.display()
                ));
            }
            n_there += usize::from(is_there);
        }
        figures.exactly(
            &format!("{name}.paths_as_told"),
            n_there,
            "paths",
            named.len(),
        );
        Ok(())
    }
}

/// The cases that a folder's split.csv keeps from training, as `<batch>/<case>`.
pub(crate) fn kept_by_split(folder: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(folder.join("split.csv")).context("read split.csv")?;
    let rows = table::rows(&text);
    let kept = rows.iter().filter(|it| it["split"].trim() != "train");
    Ok(kept
        .map(|it| format!("{}/{}", it["batch"].trim(), it["case"].trim()))
        .collect())
}
