//! Trains a network for a few steps and leaves everything that is needed to do the same elsewhere.
//!
//! `cargo run --release -p cellmill-nets --example losses -- --net resnet18 --steps 20 --seed 7 --out DIR` writes
//! into `DIR` the first weights and the batches (safetensors, names of `PyTorch`, pictures channels last), the
//! settings, and the losses. `tests/peers/torch_losses.py DIR` trains from them with `PyTorch` and compares.
//! `--net` is a family or `unet`; `--scale`, `--side` and `--batch` say how large it is.

use candle_core::{DType, Device, Tensor};
use cellmill_nets::layers::{Layer, Pass};
use cellmill_nets::models::{Architecture, UNet};
use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{AdamW, Family, Scale, cross_entropy, learning_rate};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

type Error = Box<dyn std::error::Error>;

const CLASS_WEIGHTS: [f32; 3] = [0.5, 1.0, 2.0];
const FEATURES: usize = 64;
const SMOOTHING: f64 = 0.1;
/// Low on purpose. A step of Adam has the size of the learning rate however small a gradient is, so rounding
/// decides the sign of many steps, and at the usual rates two trainings part within a few steps whatever they
/// compute with: `PyTorch` in f32 and in f64 differ by 0.1 after ten steps of 1e-3.
const PEAK: f64 = 1e-6;
const WEIGHT_DECAY: f64 = 0.05;
const WARM_UP: u64 = 4;

fn main() -> Result<(), Error> {
    let it = Arguments::parse(std::env::args().skip(1))?;
    let mut network = it.network()?;
    std::fs::create_dir_all(&it.out)?;
    write_weights(&mut *network, &it.out.join("weights.safetensors"))?;
    let batches: Vec<_> = (0..it.steps).map(|step| it.draw(step)).collect();
    write_batches(&batches, &it.out.join("batches.safetensors"))?;
    let unet = UNet::default();
    let settings = serde_json::json!({
        "family": it.net,
        "scale": it.scale,
        "side": it.side,
        "n_classes": CLASS_WEIGHTS.len(),
        "features": FEATURES,
        "base": unet.base,
        "depth": unet.depth,
        "class_weights": CLASS_WEIGHTS,
        "label_smoothing": SMOOTHING,
        "learning_rate": PEAK,
        "weight_decay": WEIGHT_DECAY,
        "warm_up": WARM_UP,
        "total": it.steps.max(WARM_UP + 1),
        "steps": it.steps,
    });
    std::fs::write(it.out.join("settings.json"), settings.to_string())?;
    let losses = train(&mut *network, &batches, it.seed)?;
    let text = serde_json::json!({ "losses": losses }).to_string();
    std::fs::write(it.out.join("losses.json"), text)?;
    Ok(())
}

/// Pictures channels last, and a class for each picture or each pixel.
struct Batch {
    shape: [usize; 4],
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

fn train(network: &mut dyn Layer, batches: &[Batch], seed: u64) -> Result<Vec<f64>, Error> {
    let mut pass = Pass::new(&Device::Cpu, seed);
    let mut adam = AdamW::new(WEIGHT_DECAY);
    let total = (batches.len() as u64).max(WARM_UP + 1);
    let mut losses = Vec::new();
    for (step, it) in batches.iter().enumerate() {
        let x = Tensor::from_slice(&it.pixels, &it.shape, &Device::Cpu)?;
        let logits = network.forward(x, &mut pass)?;
        let values = logits.flatten_all()?.to_vec1::<f32>()?;
        let loss = cross_entropy(&values, &it.labels, &CLASS_WEIGHTS, SMOOTHING);
        let gradient = Tensor::from_vec(loss.gradient, logits.shape(), &Device::Cpu)?;
        network.backward(gradient, false, &mut pass)?;
        adam.step(network, learning_rate(PEAK, step as u64, WARM_UP, total))?;
        losses.push(loss.value);
    }
    Ok(losses)
}

fn write_weights(network: &mut dyn Layer, path: &Path) -> Result<(), Error> {
    let mut tensors = HashMap::new();
    network.visit("", &mut |name, slot| {
        tensors.insert(name.to_owned(), slot.value().copy()?);
        Ok(())
    })?;
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

fn write_batches(batches: &[Batch], path: &Path) -> Result<(), Error> {
    let mut tensors = HashMap::new();
    for (step, it) in batches.iter().enumerate() {
        let x = Tensor::from_slice(&it.pixels, &it.shape, &Device::Cpu)?;
        let labels: Vec<u32> = it.labels.iter().map(|it| *it as u32).collect();
        let count = labels.len();
        let y = Tensor::from_vec(labels, count, &Device::Cpu)?.to_dtype(DType::U32)?;
        tensors.insert(format!("x.{step}"), x);
        tensors.insert(format!("y.{step}"), y);
    }
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

struct Arguments {
    /// A family's name, or `unet`.
    net: String,
    scale: Scale,
    side: usize,
    batch: usize,
    steps: u64,
    seed: u64,
    out: PathBuf,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut it = Self {
            net: "mobilenet".to_owned(),
            scale: Scale::Small,
            side: 64,
            batch: 32,
            steps: 20,
            seed: 7,
            out: PathBuf::new(),
        };
        while let Some(name) = given.next() {
            let value = given
                .next()
                .ok_or_else(|| format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--net" => it.net = value,
                "--scale" => it.scale = serde_json::from_value(value.into())?,
                "--side" => it.side = value.parse()?,
                "--batch" => it.batch = value.parse()?,
                "--steps" => it.steps = value.parse()?,
                "--seed" => it.seed = value.parse()?,
                "--out" => it.out = value.into(),
                _ => return Err(format!("`{name}` is no option of this example").into()),
            }
        }
        if it.out.as_os_str().is_empty() {
            return Err("--out names the folder to write to".into());
        }
        Ok(it)
    }

    fn network(&self) -> Result<Box<dyn Layer>, Error> {
        let n_classes = CLASS_WEIGHTS.len();
        if self.net == "unet" {
            let unet = UNet {
                n_classes,
                ..UNet::default()
            };
            return Ok(Box::new(unet.build(self.seed, &Device::Cpu)?));
        }
        let family: Family = serde_json::from_value(self.net.clone().into())?;
        let architecture = Architecture {
            family,
            scale: self.scale,
            side: self.side,
            n_classes,
            features: FEATURES,
        };
        let network = architecture.build(0.0, self.seed, &Device::Cpu)?;
        Ok(Box::new(network))
    }

    /// Noise with a stain whose colour tells the class. A pixel outside of the stain is of class 0.
    fn draw(&self, step: u64) -> Batch {
        let side = self.side;
        let mut rng = Rng::new(self.seed, Purpose::Synthetic, [step, 0]);
        let colours: Vec<usize> = (0..self.batch)
            .map(|_| rng.below(CLASS_WEIGHTS.len()))
            .collect();
        let is_stained = |pixel: usize| (side / 4..side / 2).contains(&(pixel / side));
        let mut pixels = Vec::with_capacity(self.batch * side * side * 3);
        for colour in &colours {
            for at in 0..side * side * 3 {
                let stain = if at % 3 == *colour && is_stained(at / 3) {
                    1.0
                } else {
                    0.0
                };
                pixels.push(rng.normal() as f32 + stain);
            }
        }
        let labels = if self.net == "unet" {
            let one = |colour: usize| {
                (0..side * side).map(move |at| if is_stained(at) { colour } else { 0 })
            };
            colours.into_iter().flat_map(one).collect()
        } else {
            colours
        };
        Batch {
            shape: [self.batch, side, side, 3],
            pixels,
            labels,
        }
    }
}
