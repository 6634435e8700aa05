//! The classical finder on cases that it was not tuned on, and its time beside OpenCV's and scikit-image's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::place::say;
use cellmill_tests::show::{Figures, Show};
use serde_json::Value;

use crate::heard::{example, heard};

const RECALL: f64 = 0.85;
const PRECISION: f64 = 0.70;
/// What has to hold where the goals are missed.
const FLOOR: [f64; 2] = [0.78, 0.60];
/// Times as fast as OpenCV, and as scikit-image.
const SPEED: [(&str, f64); 2] = [("cv2", 1.0), ("skimage", 10.0)];
/// Pictures that the timed field is tiled of.
const N_TILES: usize = 12;

pub(super) fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let said = heard(example("finder")?.arg("--data").arg(&show.options.data))?;
    let found = figures_of(&said)?;
    let figure = |name: &str| found.get(name).copied().unwrap_or(f64::NAN);
    let (recall, precision) = (
        figure("finder_blood_recall"),
        figure("finder_blood_precision"),
    );
    let what = "of boxes at an overlap of half, any class";
    figures.at_least("finder.bccd.recall", recall, what, RECALL);
    figures.at_least("finder.bccd.precision", precision, what, PRECISION);
    figures.at_least("finder.bccd.recall.floor", recall, what, FLOOR[0]);
    figures.at_least("finder.bccd.precision.floor", precision, what, FLOOR[1]);
    for (name, value) in &found {
        let told = name.strip_prefix("finder_").unwrap_or(name);
        if !matches!(told, "blood_recall" | "blood_precision") {
            figures.told(&format!("finder.{told}"), *value, "");
        }
    }
    let ms = figure("finder_blood_field");
    match peers(show) {
        Ok(peers) => {
            for (peer, goal) in SPEED {
                let theirs = peers.get(&format!("{peer}.finder_field"));
                let ratio = theirs.copied().unwrap_or(f64::NAN) / ms;
                let unit = "times as fast, by process time";
                figures.at_least(&format!("finder.speed.{peer}"), ratio, unit, goal);
            }
        }
        Err(error) => {
            say(format_args!("  {error:#}"));
            for (peer, goal) in SPEED {
                let unit = "could not be measured: see stderr";
                figures.at_least(&format!("finder.speed.{peer}"), f64::NAN, unit, goal);
            }
        }
    }
    Ok(())
}

/// What the peers take, by figure, on a field tiled of the same pictures.
fn peers(show: &Show) -> Result<BTreeMap<String, f64>> {
    let folder = show.make_place("finder")?;
    let blood = Folder::read(&show.options.data.join("bccd"))?;
    for image in blood.images.iter().take(N_TILES) {
        let name = format!("{}.jpg", image.name.split('.').next().unwrap_or("x"));
        fs::copy(&image.path, folder.join(name)).context("copy a picture")?;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/vision_peers.py");
    let mut command = Command::new(python()?);
    command.arg(script).arg(&folder);
    for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
        command.env(threads, "1");
    }
    figures_of(&heard(&mut command)?)
}

/// A Python with the peers.
fn python() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let target = own.ancestors().nth(2).context("a target folder")?;
    let python = match std::env::var_os("CELLMILL_TEST_PYTHON_VISION") {
        Some(path) => PathBuf::from(path),
        None => target.join("peers-venv/bin/python"),
    };
    ensure!(
        python.is_file(),
        "{} is missing: run tests/peers/vision.sh once, or set CELLMILL_TEST_PYTHON_VISION to a Python with opencv-python-headless, scikit-image and pillow",
        python.display()
    );
    Ok(python)
}

/// Lines of `{"figure", "value", ..}`.
fn figures_of(said: &str) -> Result<BTreeMap<String, f64>> {
    let lines = said.lines().filter(|it| it.starts_with('{'));
    let figure = |line: &str| {
        let it: Value = serde_json::from_str(line).with_context(|| format!("`{line}`"))?;
        let name = it["figure"].as_str().context("a figure has a name")?;
        let value = it["value"].as_f64().context("a figure has a value")?;
        Ok((name.to_owned(), value))
    };
    lines.map(figure).collect()
}
