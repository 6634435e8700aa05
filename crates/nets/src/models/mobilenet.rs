//! `MobileNet` version 1: <https://arxiv.org/abs/1704.04861>, table 1.

use super::{Architecture, Network, Scale};
use crate::layers::{
    Activation, BatchNorm, Block, Chain, Convolution, Depthwise, GlobalAveragePool, Linear,
};
use crate::rng::{Purpose, Rng};
use candle_core::{Device, Result};

/// Output channels of the paper's blocks, and whether a block halves the picture.
const BLOCKS: [(usize, bool); 13] = [
    (64, false),
    (128, true),
    (128, false),
    (256, true),
    (256, false),
    (512, true),
    (512, false),
    (512, false),
    (512, false),
    (512, false),
    (512, false),
    (1024, true),
    (1024, false),
];
const STEM: usize = 32;

/// Channels at a scale; multiples of 16, so that they fill vector registers.
const fn width(channels: usize, scale: Scale) -> usize {
    match scale {
        Scale::Small => channels / 2,
        Scale::Normal => channels,
        Scale::Big => channels + channels / 2,
    }
}

/// How often the picture is halved. The paper halves 224 pixels five times; crops of cells are smaller, and
/// what is averaged at the end should be 4 x 4 positions or more. The last halvings are left out, since the
/// early ones save the most time.
const fn n_halvings(side: usize) -> usize {
    match side {
        ..32 => 2,
        32..64 => 3,
        64..128 => 4,
        128.. => 5,
    }
}

/// The network with fresh weights.
pub fn mobilenet(it: &Architecture, dropout: f64, seed: u64, device: &Device) -> Result<Network> {
    let mut halvings = n_halvings(it.side);
    let mut stride = |halves: bool| {
        let halves = halves && halvings > 0;
        halvings -= usize::from(halves);
        1 + usize::from(halves)
    };
    let mut stream = 0;
    let mut rng = || {
        stream += 1;
        Rng::new(seed, Purpose::Weights, [stream, 0])
    };
    let norm = |channels| BatchNorm::new(channels, Activation::Relu, device);
    let mut layers = Chain::default();

    let mut channels = width(STEM, it.scale);
    let stem = Convolution::new([3, channels], 3, stride(true), 1, &mut rng(), device)?;
    layers.push("stem.", Block::new(stem, norm(channels)?));
    for (at, (outputs, halves)) in BLOCKS.into_iter().enumerate() {
        let depthwise = Depthwise::new(channels, stride(halves), &mut rng(), device)?;
        let name = format!("blocks.{at}.depthwise.");
        layers.push(name, Block::new(depthwise, norm(channels)?));
        let outputs = width(outputs, it.scale);
        let pointwise = Convolution::new([channels, outputs], 1, 1, 0, &mut rng(), device)?;
        let name = format!("blocks.{at}.pointwise.");
        layers.push(name, Block::new(pointwise, norm(outputs)?));
        channels = outputs;
    }
    let features = Linear::new([channels, it.features], false, &mut rng(), device)?;
    let features = Block::new(features, norm(it.features)?);
    let classes = Linear::new([it.features, it.n_classes], true, &mut rng(), device)?;

    layers.push("", GlobalAveragePool::default());
    layers.push("features.", features);
    Ok(Network::new(layers, dropout, classes))
}
