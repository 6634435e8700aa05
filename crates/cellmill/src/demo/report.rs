//! What the demo came to: one value, shown as tables or as JSON.

use std::collections::BTreeMap;

use cellmill_core::metrics::{ClassMetrics, Confusion};
use serde::Serialize;

use crate::cli::table::Table;
use crate::cli::{Console, Error};

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) from: String,
    /// Photographs that were taken in.
    pub(super) images: u64,
    /// Cells of the data sets, by type.
    pub(super) cells: BTreeMap<u8, u64>,
    /// Of type 0, against the doctors' boxes: those that were found, and finds that are one (an overlap of one half).
    pub(super) recall: f64,
    pub(super) precision: f64,
    pub(super) classes: Vec<Class>,
    /// Cases that the training never saw.
    pub(super) kept_apart: Vec<String>,
    pub(super) n_train: u64,
    pub(super) n_predicted: u64,
    pub(super) accuracy: f64,
    pub(super) balanced_accuracy: f64,
    pub(super) macro_f1: f64,
    /// Always saying the most frequent class.
    pub(super) majority_accuracy: f64,
    pub(super) per_class: Vec<ClassMetrics>,
    /// Rows: truth; columns: prediction.
    pub(super) confusion: Confusion,
    /// What the training said of the same cases.
    pub(super) test_accuracy: f64,
    /// A colour histogram with logistic regression, learned and judged on the same cells.
    pub(super) baseline_accuracy: f64,
    pub(super) baseline_balanced_accuracy: f64,
    pub(super) baseline_macro_f1: f64,
    pub(super) mid: u64,
    /// Per stage.
    pub(super) seconds: BTreeMap<String, f64>,
    /// The root folder, or the server's address.
    pub(super) root: String,
    /// Was it a server that runs elsewhere?
    #[serde(skip)]
    pub(super) is_elsewhere: bool,
    pub(super) paths: Paths,
    pub(super) pictures: Pictures,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Class {
    pub(super) id: u32,
    pub(super) name: String,
}

/// Results at their documented places.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Paths {
    pub(super) training: String,
    pub(super) model: String,
    pub(super) predictions: String,
    pub(super) curves: String,
    pub(super) confusion: String,
}

/// Pictures that the demo drew.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Pictures {
    /// Predicted cells by class, the surest first.
    pub(super) sheet: String,
    /// A photograph with what was predicted on it.
    pub(super) overlay: String,
}

impl Report {
    pub(super) fn show(console: &mut Console, it: &Self) -> Result<(), Error> {
        let share = |value: f64| format!("{:.1} %", 100.0 * value);
        let mut table = Table::of_pairs();
        let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
        row("photographs", it.images.to_string());
        let n = |data_type: u8| it.cells.get(&data_type).copied().unwrap_or_default();
        row(
            "cells found (type 0)",
            format!(
                "{}, {} of those drawn by doctors; {} of the finds are one",
                n(0),
                share(it.recall),
                share(it.precision)
            ),
        );
        row("cells labelled (type 1)", n(1).to_string());
        row("found and labelled (type 2)", n(2).to_string());
        row("learned from", format!("{} cells", it.n_train));
        row(
            "judged by",
            format!(
                "{} cells of {} cases that were kept apart",
                it.n_predicted,
                it.kept_apart.len()
            ),
        );
        console.line(table.render())?;
        console.line("")?;
        let mut figures = Table::new(["", "accuracy", "balanced", "macro-F1"]);
        figures.row([
            "model".to_owned() + &format!(" {}", it.mid),
            share(it.accuracy),
            share(it.balanced_accuracy),
            share(it.macro_f1),
        ]);
        figures.row([
            "colour histogram".to_owned(),
            share(it.baseline_accuracy),
            share(it.baseline_balanced_accuracy),
            share(it.baseline_macro_f1),
        ]);
        figures.row([
            "most frequent class".to_owned(),
            share(it.majority_accuracy),
            share(1.0 / it.classes.len().max(1) as f64),
            String::new(),
        ]);
        console.line(figures.render())?;
        console.line("")?;
        let mut classes = Table::new([
            "class",
            "cells",
            "precision",
            "recall",
            "F1",
            "predicted as",
        ]);
        for (at, (class, figures)) in it.classes.iter().zip(&it.per_class).enumerate() {
            let row = it.confusion.row(at).iter().zip(&it.classes);
            let predicted: Vec<String> = row
                .filter(|(n, _)| **n > 0)
                .map(|(n, class)| format!("{n} {}", class.name))
                .collect();
            classes.row([
                format!("{} {}", class.id, class.name),
                figures.support.to_string(),
                share(figures.precision),
                share(figures.recall),
                share(figures.f1),
                predicted.join(", "),
            ]);
        }
        console.line(classes.render())?;
        console.line("")?;
        let mut look = Table::of_pairs();
        let mut row = |what: &str, path: &str| look.row([what.to_owned(), path.to_owned()]);
        row("cells by class", &it.pictures.sheet);
        row("a photograph", &it.pictures.overlay);
        row("confusion matrix", &it.paths.confusion);
        row("learning curves", &it.paths.curves);
        row("training", &it.paths.training);
        row("model", &it.paths.model);
        row("predictions", &it.paths.predictions);
        row("root", &it.root);
        console.line(look.render())?;
        console.line("")?;
        let total: f64 = it.seconds.values().sum();
        let each: Vec<String> = it
            .seconds
            .iter()
            .map(|(stage, seconds)| format!("{} {seconds:.0} s", stage.replace('_', " ")))
            .collect();
        console.line(format_args!("{total:.0} s in all: {}", each.join(", ")))?;
        if it.is_elsewhere {
            return console.line(format_args!(
                "look around with `cellmill models show {} --endpoint {}`",
                it.mid, it.root
            ));
        }
        console.line(format_args!(
            "look around with `cellmill up --root {}`, then `cellmill models show {}`",
            it.root, it.mid
        ))
    }
}
