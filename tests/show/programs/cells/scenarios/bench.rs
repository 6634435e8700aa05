//! The picture work beside OpenCV, Pillow and scikit-image, measured in one run.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::figure::Figures;
use serde::Deserialize;

/// A ratio as the script prints it; its lines of plain times have no goal.
#[derive(Deserialize)]
struct Ratio {
    figure: String,
    value: f64,
    unit: String,
    goal: f64,
}

pub(super) fn run(figures: &mut Figures) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/vision.sh");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let ratios: Vec<Ratio> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    ensure!(
        !ratios.is_empty(),
        "the peers were not measured; they need python3 with venv and its package index"
    );
    for it in ratios {
        let figure = format!("bench.{}", it.figure);
        figures.at_least(&figure, it.value, &it.unit, it.goal);
    }
    Ok(())
}
