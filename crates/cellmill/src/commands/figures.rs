//! How good a classifier is, as tables.

use cellmill_api::views::ModelView;
use cellmill_core::metrics::Confusion;
use cellmill_core::model::{Detected, DetectorFacts, Measured};

use crate::cli::table::Table;
use crate::cli::{Console, Error};

/// One column of figures: what was measured, and how.
pub(super) type Column<'a> = (&'a str, &'a Measured);

/// The figures of several measurements side by side.
pub(super) fn show_figures(console: &mut Console, columns: &[Column<'_>]) -> Result<(), Error> {
    let head = std::iter::once(String::new()).chain(columns.iter().map(|it| it.0.to_owned()));
    let mut table = Table::with_head(head);
    let mut row = |what: &str, figure: &dyn Fn(&Measured) -> String| {
        let cells = columns.iter().map(|it| figure(it.1));
        table.row_of(std::iter::once(what.to_owned()).chain(cells));
    };
    row("cells", &|it| it.n.to_string());
    row("accuracy", &|it| share(it.accuracy));
    row("balanced accuracy", &|it| share(it.balanced_accuracy));
    row("macro-F1", &|it| share(it.macro_f1));
    row("always the most frequent class", &|it| {
        share(it.majority_accuracy)
    });
    console.line(table.render())
}

/// Precision, recall and F1 of each class.
pub(super) fn show_classes(
    console: &mut Console,
    names: &[String],
    measured: &Measured,
) -> Result<(), Error> {
    let mut table = Table::new(["class", "precision", "recall", "F1", "cells", "predicted"]);
    for (name, class) in names.iter().zip(&measured.per_class) {
        table.row([
            name.clone(),
            share(class.precision),
            share(class.recall),
            share(class.f1),
            class.support.to_string(),
            class.predicted.to_string(),
        ]);
    }
    console.line("")?;
    console.line(table.render())
}

/// Rows are the truth, columns what was predicted.
pub(super) fn show_confusion(
    console: &mut Console,
    names: &[String],
    confusion: &Confusion,
) -> Result<(), Error> {
    if confusion.n_classes() != names.len() {
        return Ok(());
    }
    let head = std::iter::once("truth \\ predicted".to_owned()).chain(names.iter().cloned());
    let mut table = Table::with_head(head);
    for (truth, name) in names.iter().enumerate() {
        let counts = confusion.row(truth).iter().map(ToString::to_string);
        table.row_of(std::iter::once(name.clone()).chain(counts));
    }
    console.line("")?;
    console.line(table.render())
}

/// How well a detector finds cells, on each part that measured it, and of each class.
pub(super) fn show_detected(
    console: &mut Console,
    model: &ModelView,
    facts: &DetectorFacts,
) -> Result<(), Error> {
    let parts = [("test", &facts.test), ("validation", &facts.validation)];
    let parts: Vec<(&str, &Detected)> = parts
        .into_iter()
        .filter_map(|(name, it)| Some((name, it.as_ref()?)))
        .collect();
    let Some((_, judged)) = parts.first() else {
        return Ok(());
    };
    console.line("")?;
    let head = std::iter::once(String::new()).chain(parts.iter().map(|it| it.0.to_owned()));
    let mut table = Table::with_head(head);
    let mut row = |what: &str, figure: &dyn Fn(&Detected) -> String| {
        let cells = parts.iter().map(|it| figure(it.1));
        table.row_of(std::iter::once(what.to_owned()).chain(cells));
    };
    row("images", &|it| it.n_images.to_string());
    row("cells", &|it| it.n_cells.to_string());
    row("AP50", &|it| share(it.ap50));
    row("AP50-95", &|it| share(it.ap));
    row("precision", &|it| share(it.precision));
    row("recall", &|it| share(it.recall));
    row("F1", &|it| share(it.f1));
    console.line(table.render())?;
    console.line(format_args!(
        "precision, recall and F1 of boxes from {:.2} on, at an overlap of half",
        facts.min_score
    ))?;
    let figure = |it: Option<f64>| it.map(share).unwrap_or_default();
    let mut table = Table::new([
        "class",
        "AP50",
        "AP50-95",
        "precision",
        "recall",
        "F1",
        "cells",
    ]);
    for (class, it) in model.classes.iter().zip(&judged.per_class) {
        table.row([
            format!("{} {}", class.id, class.name),
            figure(it.ap50),
            figure(it.ap),
            share(it.precision),
            share(it.recall),
            share(it.f1),
            it.n_cells.to_string(),
        ]);
    }
    console.line("")?;
    console.line(table.render())
}

/// A share for people: `0.934`.
pub(crate) fn share(value: f64) -> String {
    format!("{value:.3}")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// What a command wrote.
    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn figures_read_as_tables() {
        let confusion = Confusion::try_from(vec![vec![8, 2], vec![1, 4]]).unwrap();
        let measured = Measured::of(&confusion, None);
        let names = ["50 negative".to_owned(), "51 positive".to_owned()];
        let out = Captured::default();
        let mut console = Console::captured(false, Box::new(out.clone()));
        // A line at the margin: else the one blank before each row would pass for indentation.
        console.line("training").unwrap();
        show_figures(
            &mut console,
            &[("test", &measured), ("baseline", &measured)],
        )
        .unwrap();
        show_classes(&mut console, &names, &measured).unwrap();
        show_confusion(&mut console, &names, &confusion).unwrap();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        expect_test::expect![[r"
            training
                                              test    baseline
             cells                            15      15
             accuracy                         0.800   0.800
             balanced accuracy                0.800   0.800
             macro-F1                         0.785   0.785
             always the most frequent class   0.667   0.667

             class         precision   recall   F1      cells   predicted
             50 negative   0.889       0.800    0.842   10      9
             51 positive   0.667       0.800    0.727   5       6

             truth \ predicted   50 negative   51 positive
             50 negative         8             2
             51 positive         1             4
        "]]
        .assert_eq(&text);
    }
}
