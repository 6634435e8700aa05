//! The CUDA flavour: that it compiles, and with a card at hand what it computes and how fast.
//!
//! `worker-gpu/build-cuda` builds it and prints the path of the worker as its last line. What is measured on a card are
//! the examples `speed` and `losses` in `examples/` beside it, which take `--device cuda:0`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Figures;
use cellmill_tests::show::learning::projects::json as read_json;
use cellmill_tests::show::place::say;
use serde_json::json;

use super::losses::{difference, listed};
use crate::lab::{Lab, SPEED_NETS, example, heard, median, repository, target_folder};
use crate::peer::{Load, Torch, Turn, turn_of};

const DEVICE: &str = "cuda:0";
/// Losses of the card and of the processor, as a part of them: sums are added in another order.
const DIFFERENCE: f64 = 1e-3;
const STEPS: &str = "20";

pub(super) fn run(lab: &Lab<'_>, figures: &mut Figures) {
    if !lab.is_cuda {
        let why = "not asked for: --cuda or --only cuda";
        figures.said("cuda.skipped", json!(why), "");
        return;
    }
    let begun = Instant::now();
    let built = build();
    if let Err(error) = &built {
        say(format_args!("  {error:#}"));
    }
    figures.exactly("cuda.compiles", usize::from(built.is_ok()), "", 1);
    figures.told("cuda.build_seconds", begun.elapsed().as_secs_f64(), "s");
    let Ok(programs) = built else {
        return;
    };
    let Some(card) = card() else {
        let why = "nvidia-smi names no card: it was compiled, not run";
        figures.said("cuda.card", json!(null), why);
        return;
    };
    figures.said("cuda.card", json!(card), "");
    if !programs.join("examples").join("speed").is_file() {
        let why = "no examples of the CUDA flavour are built: nothing could be measured";
        figures.at_least("cuda.examples", 0.0, why, 1.0);
        return;
    }
    for net in SPEED_NETS.into_iter().filter(|it| lab.wants(it)) {
        let figure = format!("cuda.{net}.difference_to_cpu");
        let largest = beside_cpu(lab, &programs, net).unwrap_or_else(|error| {
            say(format_args!("  {error:#}"));
            f64::NAN
        });
        let unit = "of the loss, the largest of 20 steps";
        figures.at_most(&figure, largest, unit, DIFFERENCE);
        for mode in ["infer", "train"] {
            let load = Load {
                net,
                mode,
                n_threads: 2,
            };
            if let Err(error) = beside_torch(lab, figures, &programs, load) {
                say(format_args!("  {error:#}"));
                figures.holds(&format!("cuda.{net}.{mode}.ran_to_its_end"), false);
            }
        }
    }
}

/// The folder of the programs.
fn build() -> Result<PathBuf> {
    let script = repository().join("worker-gpu/build-cuda");
    ensure!(script.is_file(), "there is no {}", script.display());
    let mut command = Command::new(script);
    command
        .args(["--examples", "--target-dir"])
        .arg(target_folder()?);
    let said = heard(command.current_dir(repository()))?;
    let worker = said.lines().next_back().unwrap_or_default().trim();
    ensure!(Path::new(worker).is_file(), "there is no worker `{worker}`");
    let folder = Path::new(worker).parent().context("it lies in a folder")?;
    Ok(folder.to_owned())
}

/// The name of the card; `None` without one.
fn card() -> Option<String> {
    let ran = Command::new("nvidia-smi")
        .args(["--query-gpu=name,driver_version", "--format=csv,noheader"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    (ran.status.success() && !said.is_empty()).then_some(said)
}

fn built_example(programs: &Path, name: &str) -> Command {
    Command::new(programs.join("examples").join(name))
}

/// The largest difference of a loss on the card to that on the processor.
fn beside_cpu(lab: &Lab<'_>, programs: &Path, net: &str) -> Result<f64> {
    let place = lab.show.make_place("cuda")?;
    let losses = |mut command: Command, name: &str, more: &[&str]| -> Result<Vec<f64>> {
        let out = place.join(format!("{net}-{name}"));
        command.args(["--net", net, "--steps", STEPS, "--seed", "7"]);
        heard(command.args(more).arg("--out").arg(&out))?;
        Ok(listed(&read_json(&out.join("losses.json"))?))
    };
    let on_card = losses(
        built_example(programs, "losses"),
        "card",
        &["--device", DEVICE],
    )?;
    let on_cpu = losses(example("losses")?, "cpu", &[])?;
    ensure!(on_card.len() == on_cpu.len(), "as many losses of both");
    Ok(difference(&on_card, &on_cpu))
}

/// Images a second on the card beside `PyTorch` as it stands and compiled.
fn beside_torch(
    lab: &Lab<'_>,
    figures: &mut Figures,
    programs: &Path,
    load: Load<'_>,
) -> Result<()> {
    let (n_rounds, seconds) = if lab.is_quick() { (1, 1.0) } else { (5, 2.0) };
    let name = format!("cuda.{}.{}", load.net, load.mode);
    say(format_args!("  {name}"));
    let start = |more: &[&str]| Torch::start(lab, load, &[&["--device", DEVICE], more].concat());
    let mut peers = [
        ("nchw", start(&["--layout", "nchw"])?),
        ("channels_last", start(&[])?),
        ("compiled", start(&["--compile"])?),
    ];
    let (mut own, mut others) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for _ in 0..n_rounds {
        let mut command = built_example(programs, "speed");
        own.push(turn_of(command.args(["--device", DEVICE]), load, seconds)?);
        for ((_, peer), turns) in peers.iter_mut().zip(&mut others) {
            turns.push(peer.turn(seconds)?);
        }
    }
    let rate = |turns: &[Turn]| median(&turns.iter().map(|it| it.images_per_s).collect::<Vec<_>>());
    figures.told(&format!("{name}.own.rate"), rate(&own), "images/s");
    for ((peer, _), turns) in peers.iter().zip(&others) {
        let other = rate(turns);
        figures.told(&format!("{name}.torch.{peer}.rate"), other, "images/s");
        let unit = "times PyTorch";
        figures.told(&format!("{name}.ratio_to_{peer}"), rate(&own) / other, unit);
    }
    Ok(())
}
