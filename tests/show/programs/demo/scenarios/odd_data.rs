//! Data that a training can't do much with, as folders in the documented layout.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Show;
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::picture::grey_png;

use crate::material::{class_of, some_cases, with_class, with_rows};

/// A class that no table knows.
pub(super) const NOBODYS_CLASS: &str = "987654";
/// Photographs that a sound training learns from.
const SOUND: [&str; 4] = ["--images", "40", "--cases", "10"];

/// Folders by what is odd about them. Each is a batch of the same name.
#[derive(Debug)]
pub(super) struct OddData {
    pub(super) sound: Folder,
    pub(super) one_class: PathBuf,
    pub(super) three_cells: PathBuf,
    pub(super) one_case: PathBuf,
    pub(super) blank: PathBuf,
    pub(super) unnamed: PathBuf,
    pub(super) no_cells: PathBuf,
    /// The only class of `one_class`.
    pub(super) class: String,
}

impl OddData {
    pub(super) async fn make(show: &Show, place: &Path) -> Result<Self> {
        let more = [&SOUND[..], &["--classes", "3", "--seed", "3"]].concat();
        let sound = show.synthetic(&place.join("sound"), &more).await?;
        ensure!(!sound.images.is_empty(), "synth made no images");
        let class = first_class(&sound)?;
        let at = |name: &str| place.join(name);
        let few = some_cases(&sound, 3, &at("few"))?;
        let single = some_cases(&sound, 1, &at("single"))?;
        with_rows(&few, "oneclass", &at("oneclass"), |_, lines| {
            lines
                .into_iter()
                .filter(|it| class_of(it) == class)
                .collect()
        })?;
        let mut kept = BTreeSet::new();
        with_rows(&few, "threecells", &at("threecells"), |_, lines| {
            // Two of one class and one of another, the rest of the photographs without any.
            let wanted = lines.into_iter().filter(|it| match kept.len() {
                0 | 1 => class_of(it) == class && kept.insert(it.clone()),
                2 => class_of(it) != class && kept.insert(it.clone()),
                _ => false,
            });
            wanted.collect()
        })?;
        with_rows(&single, "onecase", &at("onecase"), |_, lines| lines)?;
        with_rows(&single, "unnamed", &at("unnamed"), |_, lines| {
            lines
                .iter()
                .map(|it| with_class(it, NOBODYS_CLASS))
                .collect()
        })?;
        let classes = some_classes(&sound)?;
        one_colour(&at("blank"), "blank", &classes)?;
        one_colour(&at("nocells"), "nocells", &[])?;
        Ok(Self {
            one_class: at("oneclass"),
            three_cells: at("threecells"),
            one_case: at("onecase"),
            blank: at("blank"),
            unnamed: at("unnamed"),
            no_cells: at("nocells"),
            sound,
            class,
        })
    }
}

/// The classes that occur, ascending.
fn some_classes(folder: &Folder) -> Result<Vec<String>> {
    let mut classes = BTreeSet::new();
    for csv in &folder.csvs {
        let text = fs::read_to_string(&csv.path).with_context(|| csv.key.clone())?;
        let lines = text.lines().skip(1).filter(|it| !it.trim().is_empty());
        classes.extend(lines.map(|it| class_of(it).to_owned()));
    }
    Ok(classes.into_iter().collect())
}

fn first_class(folder: &Folder) -> Result<String> {
    let classes = some_classes(folder)?;
    classes.into_iter().next().context("synth drew no cells")
}

/// Photographs of one colour, all the same, in three cases; with points of these classes.
fn one_colour(to: &Path, batch: &str, classes: &[String]) -> Result<()> {
    let picture = grey_png(300, 300, 200)?;
    for case in ["a", "b", "c"] {
        let images = to.join("img").join(batch).join(case).join("Images");
        let csvs = to.join("csv").join(batch).join("2019-7-22").join(case);
        for folder in [&images, &csvs] {
            fs::create_dir_all(folder).context("make a folder")?;
        }
        for n in 0..2 {
            fs::write(images.join(format!("{n}.png")), &picture).context("write a PNG")?;
            let mut rows = String::from("X,Y,Type\n");
            for at in 0..4 * classes.len() {
                let (x, y) = (60 + 20 * at % 200, 60 + 15 * at % 200);
                // Writing into a text does not fail.
                let _ = writeln!(rows, "{x},{y},{}", classes[at % classes.len()]);
            }
            if !classes.is_empty() {
                fs::write(csvs.join(format!("{n}.csv")), rows).context("write a CSV")?;
            }
        }
    }
    Ok(())
}
