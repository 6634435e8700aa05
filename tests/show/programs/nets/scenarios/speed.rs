//! Each network beside `PyTorch` in both of its layouts, in short turns: what the machine does in between falls on all.

use anyhow::{Context as _, Result};
use cellmill_tests::show::Figures;
use cellmill_tests::show::place::say;
use serde_json::{Value, json};

use crate::lab::{Lab, median, repository, tell_machine};
use crate::peer::{Load, Torch, Turn, own_turn};

/// How many times faster than the best layout of `PyTorch`, in inference and training.
const GOALS: [(&str, [f64; 2]); 5] = [
    ("mobilenet", [0.95, 0.95]),
    ("resnet18", [1.05, 0.95]),
    ("vgg11", [1.4, 1.15]),
    ("vgg16", [1.5, 1.3]),
    ("unet", [1.2, 1.05]),
];
const MODES: [&str; 2] = ["infer", "train"];
const LAYOUTS: [&str; 2] = ["nchw", "channels_last"];
const THREADS: [u32; 2] = [1, 2];

pub(super) fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let (n_rounds, seconds) = if lab.is_quick() { (1, 1.0) } else { (5, 3.0) };
    tell_machine(figures, "speed");
    shipped(figures)?;
    let mut is_told = false;
    let mut ratios = Vec::new();
    for (net, goals) in GOALS {
        for (mode, goal) in MODES.into_iter().zip(goals).filter(|_| lab.wants(net)) {
            for n_threads in THREADS {
                let load = Load {
                    net,
                    mode,
                    n_threads,
                };
                let name = format!("speed.{net}.{mode}.threads_{n_threads}");
                say(format_args!("  {name}"));
                let measured = match measure(lab, load, n_rounds, seconds) {
                    Ok(measured) => measured,
                    Err(error) => {
                        say(format_args!("  {error:#}"));
                        let what = "could not be measured: see stderr";
                        figures.at_least(&format!("{name}.ratio"), f64::NAN, what, goal);
                        continue;
                    }
                };
                if !is_told {
                    versions(figures, &measured.ready)?;
                    is_told = true;
                }
                ratios.push(measured.tell(figures, &name, goal));
            }
        }
    }
    let least = ratios.into_iter().fold(f64::NAN, f64::min);
    figures.told("speed.least_ratio", least, "times");
    Ok(())
}

/// What ships is measured: not built for this machine alone, and with the candle that everybody has.
fn shipped(figures: &mut Figures) -> Result<()> {
    let flags = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
    ];
    let is_native = flags.iter().any(|it| {
        let flags = std::env::var(it).unwrap_or_default();
        flags.contains("target-cpu")
    });
    figures.holds("speed.built_for_any_machine", !is_native);
    let manifest = repository().join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).context("read Cargo.toml")?;
    figures.holds("speed.nothing_is_patched", !text.contains("[patch"));
    Ok(())
}

fn versions(figures: &mut Figures, ready: &Value) -> Result<()> {
    for (name, version) in ready["versions"].as_object().into_iter().flatten() {
        figures.said(&format!("speed.version.{name}"), version.clone(), "");
    }
    let lock =
        std::fs::read_to_string(repository().join("Cargo.lock")).context("read Cargo.lock")?;
    for package in ["candle-core", "gemm"] {
        let header = format!("name = \"{package}\"\nversion = \"");
        let version = lock
            .split(&header)
            .nth(1)
            .and_then(|it| it.split('"').next());
        figures.said(&format!("speed.version.{package}"), json!(version), "");
    }
    Ok(())
}

/// The turns of a load.
struct Measured {
    n_threads: u32,
    own: Vec<Turn>,
    /// By layout.
    torch: [Vec<Turn>; 2],
    /// What `PyTorch` said of the first layout before it began.
    ready: Value,
}

fn measure(lab: &Lab<'_>, load: Load<'_>, n_rounds: u32, seconds: f64) -> Result<Measured> {
    // The first, so that what is missing is told before anything is waited for.
    let mut own = vec![own_turn(load, seconds)?];
    let start = |layout| Torch::start(lab, load, &["--layout", layout]);
    let [mut first, mut second] = [start(LAYOUTS[0])?, start(LAYOUTS[1])?];
    let mut turns = [Vec::new(), Vec::new()];
    for round in 0..n_rounds {
        turns[0].push(first.turn(seconds)?);
        turns[1].push(second.turn(seconds)?);
        if round > 0 {
            own.push(own_turn(load, seconds)?);
        }
    }
    Ok(Measured {
        n_threads: load.n_threads,
        own,
        torch: turns,
        ready: first.ready.clone(),
    })
}

impl Measured {
    /// Milliseconds an image: process time of one thread, else the time that passed.
    fn ms(&self, turns: &[Turn]) -> f64 {
        let ms = |it: &Turn| match self.n_threads {
            1 => it.cpu_ms,
            _ => 1e3 / it.images_per_s,
        };
        median(&turns.iter().map(ms).collect::<Vec<_>>())
    }

    /// Prints the figures and gives the ratio.
    fn tell(&self, figures: &mut Figures, name: &str, goal: f64) -> f64 {
        let figure = |it: &str| format!("{name}.{it}");
        let of_torch = [0, 1].map(|it| self.ms(&self.torch[it]));
        let best = usize::from(of_torch[1] < of_torch[0]);
        let ratio = of_torch[best] / self.ms(&self.own);
        let unit = match self.n_threads {
            1 => "times PyTorch's best layout, by process time",
            _ => "times PyTorch's best layout, by time",
        };
        figures.at_least(&figure("ratio"), ratio, unit, goal);
        let rate =
            |turns: &[Turn]| median(&turns.iter().map(|it| it.images_per_s).collect::<Vec<_>>());
        let peak = |turns: &[Turn]| turns.iter().map(|it| it.peak_mib).fold(f64::NAN, f64::max);
        figures.told(&figure("own.rate"), rate(&self.own), "images/s");
        figures.told(&figure("own.peak"), peak(&self.own), "MiB");
        for (layout, turns) in LAYOUTS.into_iter().zip(&self.torch) {
            figures.told(
                &figure(&format!("torch.{layout}.rate")),
                rate(turns),
                "images/s",
            );
            figures.told(&figure(&format!("torch.{layout}.peak")), peak(turns), "MiB");
        }
        let idle = self.ready["idle_bytes"].as_f64().unwrap_or(f64::NAN) / f64::from(1 << 20);
        figures.told(&figure("torch.import"), idle, "MiB of the peaks");
        figures.said(&figure("torch.best_layout"), json!(LAYOUTS[best]), "");
        figures.said(
            &figure("torch.optimiser"),
            self.ready["optimiser"].clone(),
            "",
        );
        figures.said(
            &figure("parameters"),
            self.ready["n_parameters"].clone(),
            "",
        );
        ratio
    }
}
