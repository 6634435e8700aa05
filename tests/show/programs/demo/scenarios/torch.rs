//! The same network from the same first weights on the same batches, in `PyTorch`: the same losses.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::learning::projects::json;
use cellmill_tests::show::place::say;
use cellmill_tests::show::{Figures, Show};
use serde_json::Value;

const STEPS: usize = 20;
const SEED: &str = "7";
/// Largest difference of two losses, as a part of the loss.
const DIFFERENCE: f64 = 1e-4;

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let place = show.make_place("torch")?;
    let target = std::env::current_exe().context("find this program")?;
    let target = target
        .ancestors()
        .nth(2)
        .context("a target folder")?
        .to_owned();
    let ran = tokio::task::spawn_blocking(move || losses(&target, &place)).await?;
    let (own, other) = match ran {
        Ok(losses) => losses,
        Err(error) => {
            say(format_args!("  {error:#}"));
            let what =
                "could not be measured: set CELLMILL_TEST_PYTHON to a Python with torch and numpy";
            figures.at_most("torch.largest_difference", f64::NAN, what, DIFFERENCE);
            return Ok(());
        }
    };
    figures.exactly("torch.steps", own.len().min(other.len()), "losses", STEPS);
    let differences = own
        .iter()
        .zip(&other)
        .map(|(own, other)| (own - other).abs() / other.abs());
    let largest = differences.fold(0.0, f64::max);
    figures.told(
        "torch.first_loss",
        own.first().copied().unwrap_or(f64::NAN),
        "",
    );
    figures.told(
        "torch.last_loss",
        own.last().copied().unwrap_or(f64::NAN),
        "",
    );
    figures.at_most(
        "torch.largest_difference",
        largest,
        "of the loss",
        DIFFERENCE,
    );
    Ok(())
}

/// Our losses and those of `PyTorch`.
fn losses(target: &Path, place: &Path) -> Result<(Vec<f64>, Vec<f64>)> {
    let program = target.join("release/examples/losses");
    ensure!(program.is_file(), "{} is not built", program.display());
    let steps = STEPS.to_string();
    let ended = Command::new(&program)
        .args(["--steps", &steps, "--seed", SEED, "--out"])
        .arg(place)
        .stdout(Stdio::null())
        .status();
    ensure!(
        ended.context("run the example")?.success(),
        "the example failed"
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/torch.sh");
    let output = Command::new(&script)
        .arg(place)
        .arg(target.join("torch-venv"))
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    ensure!(output.status.success(), "no losses of PyTorch");
    let other: Value = serde_json::from_slice(&output.stdout).context("losses of PyTorch")?;
    let own = json(&place.join("losses.json"))?;
    let listed = |it: &Value| -> Vec<f64> {
        let losses = it["losses"].as_array().into_iter().flatten();
        losses.filter_map(Value::as_f64).collect()
    };
    Ok((listed(&own), listed(&other)))
}
