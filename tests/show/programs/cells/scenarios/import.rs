//! Photographs and points in; images, labels, cells and data sets out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

use anyhow::{Context as _, Result};
use cellmill_tests::show::data::{Folder, Side4, Truth, size_of};
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::files::{Cell, Dataset};
use cellmill_tests::show::http::{Client, text};
use cellmill_tests::show::place::{Show, Wish};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::renamed::renamed;

use crate::finder_score::{Score, confirmed};

/// The default of `--match-radius` (FORMATS, decision 5).
const MATCH_RADIUS: u32 = 20;
/// The default of `--size`.
const CROP_SIZE: u32 = 100;
/// What Otsu and a watershed reach on the blood fields with everyday tools (the data's README).
const FINDER_RECALL: f64 = 0.69;
const FINDER_PRECISION: f64 = 0.37;
/// The names of the renamed copies follow from it.
const NAMES_SEED: u64 = 20_200_501;

/// What must be the same whatever batches, cases and files are called.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    n_images: usize,
    n_rows: usize,
    /// Cells of types 0, 1, 2 by class.
    cells: [BTreeMap<u32, usize>; 3],
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    for folder in show.folders()? {
        let name = format!("import.{}", folder.name);
        let counts = import(show, figures, &folder, &name).await?;
        let copy = show
            .make_place("import")?
            .join(format!("{}-renamed", folder.name));
        renamed(&folder, &copy, NAMES_SEED)?;
        let other = Folder::read(&copy)?;
        let again = import(show, figures, &other, &format!("{name}.renamed")).await?;
        if again != counts {
            eprintln!("was {counts:?}, is {again:?}");
        }
        figures.holds(&format!("{name}.renamed.same_counts"), again == counts);
    }
    Ok(())
}

/// Imports a folder into a root of its own and looks at everything that came of it.
async fn import(show: &Show, figures: &mut Figures, folder: &Folder, name: &str) -> Result<Counts> {
    let root = show
        .make_place("import")?
        .join(format!("{}-root", folder.name));
    let mill = Mill::up(&show.program, &root).await?;
    let report = show.import(&folder.path, &mill).await?;
    figures.told(
        &format!("{name}.seconds"),
        report["elapsed_ms"].as_f64().unwrap_or(f64::NAN) / 1000.0,
        "s",
    );
    let sizes = images(figures, mill.client(), folder, name).await?;
    let truth = folder.truth(&sizes)?;
    let n_rows = truth.values().map(Vec::len).sum();
    labels(figures, mill.client(), folder, &truth, name).await?;
    let mut cells = Vec::new();
    for data_type in ["0", "1", "2"] {
        let dir = format!("Show{data_type}");
        let wish = Wish {
            dir: &dir,
            data_type,
            batches: folder.batches(),
            waits: true,
        };
        show.make_dataset(&mill, &wish).await?;
        let dataset = Dataset::of(&root, &dir);
        let problems = dataset.problems(folder.images.len(), CROP_SIZE)?;
        say(&problems);
        figures.exactly(
            &format!("{name}.type{data_type}.file_problems"),
            problems.len(),
            "problems",
            0,
        );
        cells.push(dataset.cells()?);
    }
    let [detected, pointed, both] = &cells[..] else {
        unreachable!("three data sets were made");
    };
    figures.exactly(&format!("{name}.type1.rows"), pointed.len(), "rows", n_rows);
    let n_wrong = points_wrong(pointed, &truth);
    figures.exactly(&format!("{name}.type1.rows_wrong"), n_wrong, "rows", 0);
    scores(figures, name, &truth, detected, both);
    pairs(figures, name, &truth, detected, both);
    mill.stop().await?;
    let is_verified = show.is_verified(&root).await?;
    figures.holds(&format!("{name}.verify_finds_nothing"), is_verified);
    show.clear(&root)?;
    Ok(Counts {
        n_images: folder.images.len(),
        n_rows,
        cells: [detected, pointed, both].map(|it| by_class(it)),
    })
}

/// All images are recorded as they are, with thumbnails. Gives their sizes.
async fn images(
    figures: &mut Figures,
    client: &Client,
    folder: &Folder,
    name: &str,
) -> Result<HashMap<String, (u32, u32)>> {
    let views = client.all("/api/v1/images", &[]).await?;
    let mut sizes = HashMap::new();
    let mut n_thumbnails = 0;
    for view in &views {
        let key = text(&view["key"]);
        let side = |it: &str| view[it].as_u64().unwrap_or(0) as u32;
        if view["state"] == "ok" {
            sizes.insert(key.clone(), (side("width"), side("height")));
        }
        let thumbnail = client
            .bytes("/api/v1/image/thumbnail", &[("key", &key)])
            .await?;
        n_thumbnails += usize::from(thumbnail.starts_with(&[0xff, 0xd8, 0xff]));
    }
    let mut n_as_they_are = 0;
    for image in &folder.images {
        let bytes = fs::read(&image.path).with_context(|| image.key.clone())?;
        let told = sizes.get(&image.key);
        let is_right = told.is_some_and(|told| size_of(&bytes).is_none_or(|it| it == *told));
        let served = client
            .bytes("/api/v1/image/bytes", &[("key", &image.key)])
            .await;
        n_as_they_are += usize::from(is_right && served.is_ok_and(|it| it == bytes));
    }
    let n = folder.images.len();
    figures.exactly(&format!("{name}.images_recorded"), sizes.len(), "images", n);
    figures.exactly(
        &format!("{name}.images_as_they_are"),
        n_as_they_are,
        "images",
        n,
    );
    figures.exactly(&format!("{name}.thumbnails"), n_thumbnails, "images", n);
    Ok(sizes)
}

/// Every image has a label, with the good rows of its CSV and no others.
async fn labels(
    figures: &mut Figures,
    client: &Client,
    folder: &Folder,
    truth: &Truth,
    name: &str,
) -> Result<()> {
    let (mut n_labels, mut n_rows, mut n_same) = (0, 0, 0);
    for image in &folder.images {
        let key = [("key", image.key.as_str())];
        let Ok(label) = client.get("/api/v1/image/label", &key).await else {
            continue;
        };
        let number = |it: &serde_json::Value| it.as_u64().unwrap_or(u64::MAX);
        let mut shown: Vec<[u64; 3]> = label["cells"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| [number(&it["x"]), number(&it["y"]), number(&it["class"])])
            .collect();
        let rows = truth.get(&image.key).into_iter().flatten();
        let mut expected: Vec<[u64; 3]> = rows
            .map(|it| [it.x, it.y, it.class].map(u64::from))
            .collect();
        shown.sort_unstable();
        expected.sort_unstable();
        n_labels += 1;
        n_rows += shown.len();
        n_same += usize::from(shown == expected);
    }
    let n = folder.images.len();
    figures.exactly(&format!("{name}.labels"), n_labels, "images", n);
    figures.exactly(&format!("{name}.labels_as_the_csv"), n_same, "images", n);
    let n_good = truth.values().map(Vec::len).sum();
    figures.exactly(&format!("{name}.rows_in_labels"), n_rows, "rows", n_good);
    let points = client.all("/api/v1/points", &[]).await?;
    let n_applied = points.iter().filter(|it| it["state"] == "applied").count();
    let n_csvs = folder.csvs.len();
    figures.exactly(&format!("{name}.csvs_applied"), n_applied, "files", n_csvs);
    Ok(())
}

/// Rows of a type-1 data set that no row of a CSV asks for, and the other way round.
fn points_wrong(cells: &[Cell], truth: &Truth) -> usize {
    let mut open: HashMap<(&str, u32), i64> = HashMap::new();
    for (image, rows) in truth {
        for row in rows {
            *open.entry((image, row.class)).or_default() += 1;
        }
    }
    for cell in cells {
        *open.entry((&cell.image, cell.class)).or_default() -= 1;
    }
    open.values().map(|it| it.unsigned_abs() as usize).sum()
}

/// Recall and precision against the doctors' boxes.
fn scores(figures: &mut Figures, name: &str, truth: &Truth, detected: &[Cell], both: &[Cell]) {
    let boxes: BTreeMap<&str, Vec<Side4>> = truth
        .iter()
        .map(|(image, rows)| {
            let rows = rows.iter().filter(|it| !it.is_repeat);
            (image.as_str(), rows.filter_map(|it| it.bbox).collect())
        })
        .collect();
    let is_measured = are_measured(boxes.values().flatten());
    for (data_type, cells, has_goal) in [(0, detected, is_measured), (2, both, false)] {
        let kernels = kernels(cells);
        let mut score = Score::default();
        for (image, truth) in &boxes {
            score.add(truth, kernels.get(image).map_or(&[], Vec::as_slice));
        }
        let name = format!("{name}.type{data_type}");
        figures.told(&format!("{name}.cells"), cells.len() as f64, "cells");
        let (recall, precision) = (format!("{name}.recall"), format!("{name}.precision"));
        if has_goal {
            figures.at_least(&recall, score.recall(), "IoU 0.5", FINDER_RECALL);
            figures.at_least(&precision, score.precision(), "IoU 0.5", FINDER_PRECISION);
        } else {
            figures.told(&recall, score.recall(), "IoU 0.5");
            figures.told(&precision, score.precision(), "IoU 0.5");
        }
    }
}

/// Boxes most of which are of one size were drawn around points: they say where a cell is, not how large.
fn are_measured<'a>(boxes: impl Iterator<Item = &'a Side4>) -> bool {
    let mut by_size: HashMap<(u32, u32), usize> = HashMap::new();
    for it in boxes {
        *by_size.entry((it[2] - it[0], it[3] - it[1])).or_default() += 1;
    }
    let n: usize = by_size.values().sum();
    by_size.values().max().is_some_and(|most| 2 * most < n)
}

/// Type 2 again, naively, from the detections of type 0.
fn pairs(figures: &mut Figures, name: &str, truth: &Truth, detected: &[Cell], both: &[Cell]) {
    let found = kernels(detected);
    let mut given: BTreeMap<&str, Vec<(Side4, u32)>> = BTreeMap::new();
    for cell in both {
        given
            .entry(&cell.image)
            .or_default()
            .push((cell.kernel, cell.class));
    }
    let (mut n_expected, mut n_wrong, mut n_twice) = (0, 0, 0);
    for (image, rows) in truth {
        let found = found.get(image.as_str()).map_or(&[][..], Vec::as_slice);
        let expected = confirmed(rows, found, MATCH_RADIUS);
        let mut given = given.remove(image.as_str()).unwrap_or_default();
        given.sort_unstable();
        let boxes: BTreeSet<Side4> = given.iter().map(|it| it.0).collect();
        n_twice += given.len() - boxes.len();
        n_expected += expected.len();
        let missing = expected.iter().filter(|it| !given.contains(it)).count();
        let extra = given.iter().filter(|it| !expected.contains(it)).count();
        n_wrong += missing + extra;
    }
    n_wrong += given.values().map(Vec::len).sum::<usize>();
    figures.exactly(
        &format!("{name}.type2.pairs"),
        both.len(),
        "pairs",
        n_expected,
    );
    figures.exactly(&format!("{name}.type2.pairs_wrong"), n_wrong, "pairs", 0);
    figures.exactly(
        &format!("{name}.type2.boxes_used_twice"),
        n_twice,
        "boxes",
        0,
    );
}

fn kernels(cells: &[Cell]) -> BTreeMap<&str, Vec<Side4>> {
    let mut kernels: BTreeMap<&str, Vec<Side4>> = BTreeMap::new();
    for cell in cells {
        kernels.entry(&cell.image).or_default().push(cell.kernel);
    }
    kernels
}

fn by_class(cells: &[Cell]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for cell in cells {
        *counts.entry(cell.class).or_default() += 1;
    }
    counts
}

/// The first few problems, on stderr.
fn say(problems: &[String]) {
    for problem in problems.iter().take(10) {
        eprintln!("  {problem}");
    }
}
