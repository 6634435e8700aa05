//! How fast a network computes on this machine, on pictures that it draws itself.
//!
//! `cargo run --release -p cellmill-nets --example speed -- --net resnet18 --mode train --threads 1 --seconds 5`
//! prints one line of JSON: images per second (of the median step, by the clock), processor milliseconds an image
//! (the least of all steps), and the peak of the process's memory. The networks are those that comparisons with
//! other programs are made with, so they have no feature layer: a step is the forward pass, cross-entropy, the
//! backward pass and `AdamW`.

use candle_core::{Device, Result as TensorResult, Tensor};
use cellmill_nets::layers::{
    Activation, BatchNorm, Block, Chain, Convolution, Depthwise, GlobalAveragePool, Layer, Linear,
    MaxPool, Pass, Residual, Skip, TransposedConvolution, Visitor,
};
use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{AdamW, cross_entropy};
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

const CPU: Device = Device::Cpu;
const CLASSES: usize = 7;
const PIXEL_CLASSES: usize = 3;
const SEED: u64 = 1;

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads)
        .build_global()?;
    let (mut network, shape) = build(&arguments.net)?;
    let steps = run(&mut network, shape, &arguments)?;
    let n = shape[0] as f64;
    let mut seconds: Vec<f64> = steps.iter().map(|it| it.wall).collect();
    seconds.sort_by(f64::total_cmp);
    let cpu = steps.iter().map(|it| it.cpu).fold(f64::INFINITY, f64::min);
    let line = serde_json::json!({
        "net": arguments.net,
        "mode": arguments.mode,
        "threads": arguments.threads,
        "steps": steps.len(),
        "images_per_second": n / seconds[seconds.len() / 2],
        "cpu_ms_per_image": cpu * 1e3 / n,
        "peak_mib": peak_mib()?,
        "instructions": cellmill_nets::instruction_set(),
    });
    #[expect(clippy::print_stdout, reason = "the line is what the program is for")]
    {
        println!("{line}");
    }
    Ok(())
}

struct Arguments {
    net: String,
    mode: String,
    threads: usize,
    seconds: f64,
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut it = Self {
            net: "mobilenet".to_owned(),
            mode: "infer".to_owned(),
            threads: 1,
            seconds: 5.0,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} has no value"))?;
            match name.as_str() {
                "--net" => it.net = value,
                "--mode" if matches!(value.as_str(), "infer" | "train") => it.mode = value,
                "--threads" => it.threads = value.parse()?,
                "--seconds" => it.seconds = value.parse()?,
                _ => {
                    let text = "usage: speed --net mobilenet|resnet18|vgg11|vgg16|unet --mode infer|train --threads N --seconds S";
                    return Err(text.into());
                }
            }
        }
        Ok(it)
    }
}

/// What one step took, in seconds.
struct Step {
    wall: f64,
    cpu: f64,
}

/// Steps until the time is over; two at first that do not count, since they ask for memory.
fn run(network: &mut Chain, shape: [usize; 4], arguments: &Arguments) -> Result<Vec<Step>, Error> {
    let mut rng = Rng::new(SEED, Purpose::Synthetic, [0, 0]);
    let pictures: Vec<f32> = (0..shape.iter().product())
        .map(|_| rng.normal() as f32)
        .collect();
    let mut pass = Pass::new(&CPU, SEED);
    let mut optimiser = AdamW::new(0.01);
    let begin = Instant::now();
    let mut steps = Vec::new();
    while steps.len() < 5 || begin.elapsed().as_secs_f64() < arguments.seconds {
        let x = pass.buffers.take(&shape, &CPU)?;
        let x = fill(x, &pictures)?;
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        if arguments.mode == "infer" {
            let y = network.infer(x, &mut pass)?;
            pass.buffers.give(y);
        } else {
            train(network, x, &mut pass, &mut optimiser)?;
        }
        steps.push(Step {
            wall: wall.elapsed().as_secs_f64(),
            cpu: cpu_seconds() - cpu,
        });
    }
    steps.drain(..2);
    Ok(steps)
}

/// A layer owns what it is given, so each step gets the pictures anew.
fn fill(x: Tensor, pictures: &[f32]) -> TensorResult<Tensor> {
    let shape = x.dims().to_vec();
    drop(x);
    Tensor::from_slice(pictures, shape, &CPU)
}

fn train(
    network: &mut Chain,
    x: Tensor,
    pass: &mut Pass,
    optimiser: &mut AdamW,
) -> Result<(), Error> {
    let y = network.forward(x, pass)?;
    let classes = y.dim(candle_core::D::Minus1)?;
    let logits = y.flatten_all()?.to_vec1::<f32>()?;
    let labels: Vec<usize> = (0..logits.len() / classes)
        .map(|it| it * 7919 % classes)
        .collect();
    let loss = cross_entropy(&logits, &labels, &vec![1.0; classes], 0.0);
    let gradient = Tensor::from_vec(loss.gradient, y.dims(), &CPU)?;
    pass.buffers.give(y);
    network.backward(gradient, false, pass)?;
    optimiser.step(network, 1e-4)?;
    Ok(())
}

/// Seconds that this process computed, on all threads.
fn cpu_seconds() -> f64 {
    let it = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    it.tv_sec as f64 + it.tv_nsec as f64 * 1e-9
}

fn peak_mib() -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let kib = line.ok_or("the system tells no peak memory")?;
    Ok(kib.trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}

/// The network and the shape of its batches.
fn build(net: &str) -> Result<(Chain, [usize; 4]), Error> {
    let mut make = Make { stream: 0 };
    let it = match net {
        "mobilenet" => (mobilenet(&mut make)?, [64, 100, 100, 3]),
        "resnet18" => (resnet18(&mut make)?, [64, 100, 100, 3]),
        "vgg11" => (vgg(&mut make, [1, 1, 2, 2, 2])?, [64, 64, 64, 3]),
        "vgg16" => (vgg(&mut make, [2, 2, 3, 3, 3])?, [64, 64, 64, 3]),
        "unet" => (unet(&mut make)?, [4, 256, 256, 1]),
        other => return Err(format!("there is no network {other}").into()),
    };
    Ok(it)
}

/// Makes layers with fresh weights.
struct Make {
    stream: u64,
}

impl Make {
    fn rng(&mut self) -> Rng {
        self.stream += 1;
        Rng::new(SEED, Purpose::Weights, [self.stream, 0])
    }

    fn convolution(
        &mut self,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> TensorResult<Convolution> {
        Convolution::new(channels, kernel, stride, kernel / 2, &mut self.rng(), &CPU)
    }

    /// Convolution, batch normalisation and what comes after.
    fn block(
        &mut self,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        after: Activation,
    ) -> TensorResult<Block> {
        let map = self.convolution(channels, kernel, stride)?;
        Ok(Block::new(map, BatchNorm::new(channels[1], after, &CPU)?))
    }

    fn linear(&mut self, channels: [usize; 2]) -> TensorResult<Linear> {
        Linear::new(channels, true, &mut self.rng(), &CPU)
    }
}

fn mobilenet(make: &mut Make) -> TensorResult<Chain> {
    let blocks = [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (1024, 2),
        (1024, 1),
    ];
    let relu = Activation::Relu;
    let mut net = Chain::default().then("", make.block([3, 32], 3, 2, relu)?);
    let mut channels = 32;
    for (outputs, stride) in blocks {
        let map = Depthwise::new(channels, stride, &mut make.rng(), &CPU)?;
        net.push("", Block::new(map, BatchNorm::new(channels, relu, &CPU)?));
        net.push("", make.block([channels, outputs], 1, 1, relu)?);
        channels = outputs;
    }
    net.push("", GlobalAveragePool::default());
    net.push("", make.linear([channels, CLASSES])?);
    Ok(net)
}

fn resnet18(make: &mut Make) -> TensorResult<Chain> {
    let relu = Activation::Relu;
    let mut net = Chain::default().then("", make.block([3, 64], 7, 2, relu)?);
    net.push("", MaxPool::new(2, 2, 0));
    let mut channels = 64;
    for (at, outputs) in [64, 64, 128, 128, 256, 256, 512, 512]
        .into_iter()
        .enumerate()
    {
        let stride = if at > 0 && at % 2 == 0 { 2 } else { 1 };
        let body = Chain::default()
            .then("", make.block([channels, outputs], 3, stride, relu)?)
            .then("", make.block([outputs, outputs], 3, 1, Activation::None)?);
        let shortcut = if channels == outputs {
            None
        } else {
            let map = make.block([channels, outputs], 1, stride, Activation::None)?;
            Some(Chain::default().then("", map))
        };
        net.push("", Residual::new(body, shortcut, relu));
        channels = outputs;
    }
    net.push("", GlobalAveragePool::default());
    net.push("", make.linear([channels, CLASSES])?);
    Ok(net)
}

/// Configurations of the paper: convolutions of each stage.
fn vgg(make: &mut Make, stages: [usize; 5]) -> TensorResult<Chain> {
    let mut net = Chain::default();
    let mut channels = 3;
    for (outputs, n) in [64, 128, 256, 512, 512].into_iter().zip(stages) {
        for _ in 0..n {
            let it = make.convolution([channels, outputs], 3, 1)?;
            net.push("", it.with_bias(Activation::Relu)?);
            channels = outputs;
        }
        net.push("", MaxPool::new(2, 2, 0));
    }
    // A linear layer with a rectifier is a convolution of a picture of one pixel.
    net.push("", Shape([1, 1, 2048]));
    let hidden = make.convolution([2048, 512], 1, 1)?;
    net.push("", hidden.with_bias(Activation::Relu)?);
    let classes = make.convolution([512, CLASSES], 1, 1)?;
    net.push("", classes.with_bias(Activation::None)?);
    Ok(net)
}

const UNET_BASE: usize = 16;
const UNET_DEPTH: usize = 4;

fn unet(make: &mut Make) -> TensorResult<Chain> {
    let classes = make.convolution([UNET_BASE, PIXEL_CLASSES], 1, 1)?;
    let level = unet_level(make, [1, UNET_BASE], UNET_DEPTH)?;
    Ok(level.then("", classes.with_bias(Activation::None)?))
}

fn unet_level(
    make: &mut Make,
    [inputs, channels]: [usize; 2],
    depth: usize,
) -> TensorResult<Chain> {
    let two = |make: &mut Make, inputs| -> TensorResult<Chain> {
        Ok(Chain::default()
            .then("", make.block([inputs, channels], 3, 1, Activation::Relu)?)
            .then(
                "",
                make.block([channels, channels], 3, 1, Activation::Relu)?,
            ))
    };
    let encode = two(make, inputs)?;
    if depth == 0 {
        return Ok(encode);
    }
    let below = unet_level(make, [channels, 2 * channels], depth - 1)?;
    let up = TransposedConvolution::new([2 * channels, channels], &mut make.rng(), &CPU)?;
    let inner = Chain::default()
        .then("", MaxPool::new(2, 2, 0))
        .then("", below)
        .then("", up);
    let decode = two(make, 2 * channels)?;
    Ok(Chain::default().then("", Skip::new(encode, inner, decode)))
}

/// The same values as pictures of another shape.
#[derive(Debug)]
struct Shape([usize; 3]);

impl Layer for Shape {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> TensorResult<Tensor> {
        self.infer(x, pass)
    }

    fn backward(
        &mut self,
        dy: Tensor,
        _wanted: bool,
        _pass: &mut Pass,
    ) -> TensorResult<Option<Tensor>> {
        let n = dy.dim(0)?;
        // Two pixels a side are left of 64 after five halvings.
        dy.reshape((n, 2, 2, 512)).map(Some)
    }

    fn infer(&mut self, x: Tensor, _pass: &mut Pass) -> TensorResult<Tensor> {
        let [h, w, c] = self.0;
        x.reshape((x.dim(0)?, h, w, c))
    }

    fn visit(&mut self, _prefix: &str, _visitor: &mut Visitor<'_>) -> TensorResult<()> {
        Ok(())
    }
}
