//! Trains a small network for a few steps and leaves everything that is needed to do the same elsewhere.
//!
//! `cargo run --release -p cellmill-nets --example losses -- --steps 20 --seed 7 --out DIR` writes into `DIR`
//! the first weights and the batches (safetensors, names of `PyTorch`, pictures channels last), the settings,
//! and the losses. `tests/peers/torch_losses.py DIR` trains from them with `PyTorch` and compares.

use candle_core::{DType, Device, Tensor};
use cellmill_nets::layers::Pass;
use cellmill_nets::models::{Architecture, Network};
use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{AdamW, Family, Scale, cross_entropy, learning_rate};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

type Error = Box<dyn std::error::Error>;

const SIDE: usize = 64;
const BATCH: usize = 32;
const CLASS_WEIGHTS: [f32; 3] = [0.5, 1.0, 2.0];
const SMOOTHING: f64 = 0.1;
/// Low on purpose. A step of Adam has the size of the learning rate however small a gradient is, so rounding
/// decides the sign of many steps, and at the usual rates two trainings part within a few steps whatever they
/// compute with: `PyTorch` in f32 and in f64 differ by 0.1 after ten steps of 1e-3.
const PEAK: f64 = 1e-6;
const WEIGHT_DECAY: f64 = 0.05;
const WARM_UP: u64 = 4;

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let architecture = Architecture {
        family: Family::MobileNet,
        scale: Scale::Small,
        side: SIDE,
        n_classes: CLASS_WEIGHTS.len(),
        features: 64,
    };
    let mut network = architecture.build(0.0, arguments.seed, &Device::Cpu)?;
    std::fs::create_dir_all(&arguments.out)?;
    write_weights(&mut network, &arguments.out.join("weights.safetensors"))?;
    let batches: Vec<_> = (0..arguments.steps)
        .map(|it| batch(arguments.seed, it))
        .collect();
    write_batches(&batches, &arguments.out.join("batches.safetensors"))?;
    let settings = serde_json::json!({
        "scale": architecture.scale,
        "side": SIDE,
        "n_classes": architecture.n_classes,
        "features": architecture.features,
        "class_weights": CLASS_WEIGHTS,
        "label_smoothing": SMOOTHING,
        "learning_rate": PEAK,
        "weight_decay": WEIGHT_DECAY,
        "warm_up": WARM_UP,
        "total": arguments.steps.max(WARM_UP + 1),
        "steps": arguments.steps,
    });
    std::fs::write(arguments.out.join("settings.json"), settings.to_string())?;
    let losses = train(&mut network, &batches, arguments.seed)?;
    let text = serde_json::json!({ "losses": losses }).to_string();
    std::fs::write(arguments.out.join("losses.json"), text)?;
    Ok(())
}

fn train(
    network: &mut Network,
    batches: &[(Vec<f32>, Vec<usize>)],
    seed: u64,
) -> Result<Vec<f64>, Error> {
    let mut pass = Pass::new(&Device::Cpu, seed);
    let mut adam = AdamW::new(WEIGHT_DECAY);
    let total = (batches.len() as u64).max(WARM_UP + 1);
    let mut losses = Vec::new();
    for (step, (pixels, labels)) in batches.iter().enumerate() {
        let x = Tensor::from_slice(pixels, (BATCH, SIDE, SIDE, 3), &Device::Cpu)?;
        let logits = network.forward(x, &mut pass)?;
        let values = logits.flatten_all()?.to_vec1::<f32>()?;
        let loss = cross_entropy(&values, labels, &CLASS_WEIGHTS, SMOOTHING);
        let gradient = Tensor::from_vec(loss.gradient, logits.shape(), &Device::Cpu)?;
        network.backward(gradient, &mut pass)?;
        adam.step(network, learning_rate(PEAK, step as u64, WARM_UP, total))?;
        losses.push(loss.value);
    }
    Ok(losses)
}

/// Noise with a stain whose colour tells the class.
fn batch(seed: u64, step: u64) -> (Vec<f32>, Vec<usize>) {
    let mut rng = Rng::new(seed, Purpose::Synthetic, [step, 0]);
    let labels: Vec<usize> = (0..BATCH).map(|_| rng.below(CLASS_WEIGHTS.len())).collect();
    let mut pixels = Vec::with_capacity(BATCH * SIDE * SIDE * 3);
    for label in &labels {
        for at in 0..SIDE * SIDE * 3 {
            let stained = at % 3 == *label && (SIDE / 4..SIDE / 2).contains(&(at / 3 / SIDE));
            pixels.push(rng.normal() as f32 + if stained { 1.0 } else { 0.0 });
        }
    }
    (pixels, labels)
}

fn write_weights(network: &mut Network, path: &Path) -> Result<(), Error> {
    let mut tensors = HashMap::new();
    network.visit(&mut |name, slot| {
        tensors.insert(name.to_owned(), slot.value().copy()?);
        Ok(())
    })?;
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

fn write_batches(batches: &[(Vec<f32>, Vec<usize>)], path: &Path) -> Result<(), Error> {
    let mut tensors = HashMap::new();
    for (step, (pixels, labels)) in batches.iter().enumerate() {
        let x = Tensor::from_slice(pixels, (BATCH, SIDE, SIDE, 3), &Device::Cpu)?;
        let labels: Vec<u32> = labels.iter().map(|it| *it as u32).collect();
        let y = Tensor::from_vec(labels, BATCH, &Device::Cpu)?.to_dtype(DType::U32)?;
        tensors.insert(format!("x.{step}"), x);
        tensors.insert(format!("y.{step}"), y);
    }
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

struct Arguments {
    steps: u64,
    seed: u64,
    out: PathBuf,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut it = Self {
            steps: 20,
            seed: 7,
            out: PathBuf::new(),
        };
        while let Some(name) = given.next() {
            let value = given
                .next()
                .ok_or_else(|| format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--steps" => it.steps = value.parse()?,
                "--seed" => it.seed = value.parse()?,
                "--out" => it.out = value.into(),
                _ => return Err(format!("`{name}` is none of --steps, --seed and --out").into()),
            }
        }
        if it.out.as_os_str().is_empty() {
            return Err("--out names the folder to write to".into());
        }
        Ok(it)
    }
}
