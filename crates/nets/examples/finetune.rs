//! Fine-tunes a network on pictures in folders, and judges it on the part that was held out.
//!
//! `cargo run --release -p cellmill-nets --example finetune -- --data DIR --negative NILM --weights FILE --seeds 1,2`
//! reads `DIR/{train,val}/CLASS/*.png`. Folders named by `--negative` are class 0, all others class 1; without it
//! each folder is a class. Nothing is chosen on the part that judges: the weights of the last epoch answer, and the
//! answer is the mean over the eight views of a picture. `--options JSON` sets fields of `TrainOptions`. Prints a
//! JSON line a seed. Without `--weights` the network begins fresh.
#![expect(clippy::print_stdout, reason = "an example tells what it measured")]

use cellmill_core::metrics::Confusion;
use cellmill_nets::{Classifier, Device, Samples, TrainOptions, Trainer, weights};
use cellmill_vision::{Limits, decode, resize};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let it = Arguments::parse(std::env::args().skip(1))?;
    let mut classes: Vec<String> = folders(&it.data.join("train"))?.into_iter().collect();
    if !it.negative.is_empty() {
        // What is named comes first, everything else is one class.
        classes.sort_by_key(|name| !it.negative.contains(name));
    }
    let class_of = |name: &str| match classes.iter().position(|it| it == name) {
        Some(_) if !it.negative.is_empty() => usize::from(!it.negative.iter().any(|it| it == name)),
        at => at.unwrap_or(0),
    };
    let n_classes = if it.negative.is_empty() {
        classes.len()
    } else {
        2
    };
    let options = TrainOptions {
        n_classes,
        ..it.options.clone()
    };
    let read = |part: &str| samples(&it.data.join(part), options.side, &class_of);
    let (train, held_out) = (read("train")?, read("val")?);
    let bytes = it.weights.as_ref().map(std::fs::read).transpose()?;
    let foreign = bytes.as_deref().map(weights::read).transpose()?;
    for seed in &it.seeds {
        let options = TrainOptions {
            seed: *seed,
            ..options.clone()
        };
        let (device, none) = (Device::Cpu.open()?, Samples::new(options.side));
        let begun = std::time::Instant::now();
        let mut trainer = match &foreign {
            Some(foreign) => {
                let options = options.with_weights(foreign)?;
                Trainer::with_weights(options, train.clone(), none, &device, foreign)?
            }
            None => Trainer::new(options, train.clone(), none, &device)?,
        };
        let mut losses = Vec::new();
        while !trainer.is_finished() {
            let report = trainer.epoch(&mut |_| ControlFlow::Continue(()))?;
            losses.extend(report.map(|it| it.train_loss));
            if it.is_judged_often {
                let state = trainer.checkpoint()?;
                let options = trainer.options().clone();
                let none = Samples::new(options.side);
                let so_far = Trainer::resume(options, train.clone(), none, &device, &state)?;
                tell(
                    &mut so_far.finish()?,
                    &held_out,
                    *seed,
                    &losses,
                    begun.elapsed().as_secs(),
                )?;
            }
        }
        let seconds = begun.elapsed().as_secs();
        tell(&mut trainer.finish()?, &held_out, *seed, &losses, seconds)?;
    }
    Ok(())
}

fn tell(
    classifier: &mut Classifier,
    held_out: &Samples,
    seed: u64,
    losses: &[f64],
    seconds: u64,
) -> Result<(), Error> {
    let single = judged(classifier, held_out, 1)?;
    let views = judged(classifier, held_out, 8)?;
    let line = serde_json::json!({
        "seed": seed,
        "epochs": losses.len(),
        "loss": losses.last(),
        "single": {"accuracy": single.accuracy(), "balanced": single.balanced_accuracy()},
        "views": {"accuracy": views.accuracy(), "balanced": views.balanced_accuracy(), "macro_f1": views.macro_f1()},
        "seconds": seconds,
    });
    println!("{line}");
    Ok(())
}

/// Class by class, from the mean logits of the first views of each picture.
fn judged(
    classifier: &mut Classifier,
    samples: &Samples,
    n_views: usize,
) -> Result<Confusion, Error> {
    let n_classes = classifier.spec().architecture.n_classes;
    let mut sums = vec![vec![0.0_f32; n_classes]; samples.len()];
    for view in 0..n_views {
        let pixels = turned(samples.pixels(), samples.side(), view);
        let mut at = 0;
        classifier.predict_pixels(&pixels, 32, &mut |scored| {
            for (sum, logit) in sums[at].iter_mut().zip(&scored.logits) {
                *sum += logit;
            }
            at += 1;
        })?;
    }
    let mut confusion = Confusion::new(n_classes);
    for (sums, label) in sums.iter().zip(samples.labels()) {
        let best = (0..n_classes).max_by(|a, b| sums[*a].total_cmp(&sums[*b]));
        confusion.add(*label, best.unwrap_or(0));
    }
    Ok(confusion)
}

/// Pictures turned by quarter turns, and mirrored from the fifth view on.
fn turned(pixels: &[u8], side: usize, view: usize) -> Vec<u8> {
    let last = side - 1;
    let mut out = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact(side * side * 3) {
        for at in 0..side * side {
            let (y, x) = (at / side, at % side);
            let x = if view >= 4 { last - x } else { x };
            let (y, x) = match view % 4 {
                0 => (y, x),
                1 => (x, last - y),
                2 => (last - y, last - x),
                _ => (last - x, y),
            };
            out.extend_from_slice(&picture[(y * side + x) * 3..][..3]);
        }
    }
    out
}

fn folders(path: &Path) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn samples(path: &Path, side: usize, class_of: &dyn Fn(&str) -> usize) -> Result<Samples, Error> {
    let mut samples = Samples::new(side);
    for name in folders(path)? {
        let folder = path.join(&name);
        let files = std::fs::read_dir(&folder)?.map(|it| it.map(|it| it.path()));
        let files: BTreeSet<PathBuf> = files.collect::<Result<_, _>>()?;
        for file in files {
            let decoded = decode(&std::fs::read(&file)?, &Limits::default());
            let decoded = decoded.map_err(|it| format!("{}: {it}", file.display()))?;
            let picture = resize(&decoded.image, side as u32, side as u32);
            samples.push(&picture.data, class_of(&name))?;
        }
    }
    Ok(samples)
}

struct Arguments {
    data: PathBuf,
    negative: Vec<String>,
    weights: Option<PathBuf>,
    seeds: Vec<u64>,
    /// Whether each epoch is judged, to see a curve; nothing is chosen by it.
    is_judged_often: bool,
    options: TrainOptions,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut it = Self {
            data: PathBuf::new(),
            negative: Vec::new(),
            weights: None,
            seeds: vec![1],
            is_judged_often: false,
            options: TrainOptions::default(),
        };
        while let Some(name) = given.next() {
            let value = given
                .next()
                .ok_or_else(|| format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--data" => it.data = value.into(),
                "--negative" => it.negative = value.split(',').map(str::to_owned).collect(),
                "--weights" => it.weights = Some(value.into()),
                "--seeds" => {
                    it.seeds = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--often" => it.is_judged_often = value.parse()?,
                "--options" => it.options = serde_json::from_str(&value)?,
                _ => return Err(format!("`{name}` is no option of this example").into()),
            }
        }
        Ok(it)
    }
}
