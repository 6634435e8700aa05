//! The figures of `eval detect` and `eval segment` as tables.

use cellmill_core::detection::Figures;
use cellmill_core::detection::instances::ImageFigures;

use crate::cli::table::Table;
use crate::cli::{Console, Error};
use crate::commands::figures::share;

use super::detect::{At, Detected};
use super::segment::Segmented;

pub(super) fn detected(console: &mut Console, it: &Detected) -> Result<(), Error> {
    let mut table = Table::of_pairs();
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("images", it.images.to_string());
    row("cells", it.cells.to_string());
    row("found", it.found.to_string());
    row("AP .50:.95", figure(it.figures.ap));
    row("AP .50", figure(it.figures.ap50));
    row("AP .75", figure(it.figures.ap75));
    row(
        &format!("AR .50:.95, {} a class", it.max_dets),
        figure(it.figures.ar),
    );
    if let Some(best) = &it.best {
        row("best F1 at .50", counted(best));
    }
    if let Some(at) = &it.at_score {
        row("F1 at .50", counted(at));
    }
    if it.wrong_class > 0 {
        row("in place, of another class", it.wrong_class.to_string());
    }
    console.line(table.render())?;
    if !it.per_class.is_empty() {
        console.line("")?;
        console.line(by_class(it))?;
    }
    notes(console, &it.notes)
}

fn counted(at: &At) -> String {
    format!(
        "{} from a score of {} on: precision {}, recall {}, {} hits, {} false alarms, {} misses",
        share(at.f1),
        share(at.score),
        figure(at.precision),
        figure(at.recall),
        at.hits,
        at.false_alarms,
        at.misses
    )
}

fn by_class(it: &Detected) -> String {
    let mut table = Table::new([
        "class",
        "cells",
        "found",
        "AP",
        "AP50",
        "AP75",
        "AR",
        "precision",
        "recall",
        "F1",
    ]);
    for class in &it.per_class {
        let Figures { ap, ap50, ap75, ar } = class.figures;
        let at = |of: fn(&At) -> Option<f64>| figure(class.at.as_ref().and_then(of));
        table.row([
            class.shown.clone(),
            class.cells.to_string(),
            class.found.to_string(),
            figure(ap),
            figure(ap50),
            figure(ap75),
            figure(ar),
            at(|it| it.precision),
            at(|it| it.recall),
            at(|it| Some(it.f1)),
        ]);
    }
    table.render()
}

pub(super) fn segmented(console: &mut Console, it: &Segmented) -> Result<(), Error> {
    let mut table = Table::new([
        "image",
        "cells",
        "found",
        "F1 .50",
        "AP .50",
        "AP .50:.95",
        "Dice",
    ]);
    let mut row = |name: &str, it: &ImageFigures| {
        table.row([
            name.to_owned(),
            it.n_truth.to_string(),
            it.n_found.to_string(),
            share(it.f1),
            share(it.ap50),
            share(it.ap),
            share(it.dice),
        ]);
    };
    for image in &it.per_image {
        row(&image.image, &image.figures);
    }
    row(&format!("mean of {}", it.mean.n_images), &it.mean.mean);
    console.line(table.render())?;
    console.line(format_args!(
        "\nF1 .50 of the cells of all images together: {}",
        share(it.mean.pooled_f1)
    ))?;
    notes(console, &it.notes)
}

fn notes(console: &mut Console, notes: &[String]) -> Result<(), Error> {
    for note in notes {
        console.line(format_args!("note: {note}"))?;
    }
    Ok(())
}

/// Nothing where there was nothing to measure.
fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), share)
}
