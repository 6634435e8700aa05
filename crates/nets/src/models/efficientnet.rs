//! `EfficientNet-Lite0`: the B0 of <https://arxiv.org/abs/1905.11946>, table 1, without squeeze-and-excitation
//! and with the rectifier cut at 6. Borders as in `TensorFlow`, where its published weights come from.

use super::body::Body;
use super::builder::Builder;
use super::{Architecture, Network};
use crate::layers::{Activation, Chain, Padding, Residual};
use candle_core::{Device, Result};

/// Blocks of one shape, one after the other.
struct Stage {
    n: usize,
    kernel: usize,
    /// Whether the first of them halves the picture.
    halves: bool,
    /// How many times wider a block is inside.
    expansion: usize,
    outputs: usize,
}

const fn stage(n: usize, kernel: usize, halves: bool, expansion: usize, outputs: usize) -> Stage {
    Stage {
        n,
        kernel,
        halves,
        expansion,
        outputs,
    }
}

const STEM: usize = 32;
const STAGES: [Stage; 7] = [
    stage(1, 3, false, 1, 16),
    stage(2, 3, true, 6, 24),
    stage(2, 5, true, 6, 40),
    stage(3, 3, true, 6, 80),
    stage(3, 5, false, 6, 112),
    stage(4, 5, true, 6, 192),
    stage(1, 3, false, 6, 320),
];
const HEAD: usize = 1280;
/// `TensorFlow`'s addition to variances, which the published weights were trained with.
pub(super) const EPSILON: f64 = 1e-3;

/// The network with fresh weights.
pub(super) fn efficientnet_lite0(
    it: &Architecture,
    dropout: f64,
    seed: u64,
    device: &Device,
) -> Result<Network> {
    let mut make = Builder::new(it.scale, it.side, seed, device).with_epsilon(EPSILON);
    let mut body = body(&mut make)?;
    let (channels, head) = (body.channels(), make.width(HEAD));
    let layer = make.convolution([channels, head], 1, 1, 0, Activation::Relu6)?;
    body.push(make.level(), "head.", layer, head);
    make.finish(body, it, dropout)
}

/// All stages, without the convolution behind them that only classes are made of.
pub(super) fn body(make: &mut Builder<'_>) -> Result<Body> {
    let mut layers = Body::default();
    let mut channels = make.width(STEM);
    let stride = make.stride(true);
    let stem = make.convolution([3, channels], 3, stride, Padding::Same, Activation::Relu6)?;
    layers.push(make.level(), "stem.", stem, channels);
    let mut block = 0;
    for stage in STAGES {
        let outputs = make.width(stage.outputs);
        for at in 0..stage.n {
            let stride = make.stride(stage.halves && at == 0);
            let layer = inverted_residual(make, &stage, [channels, outputs], stride)?;
            let name = format!("blocks.{block}.");
            // The block's input comes back where it has the output's shape.
            if stride == 1 && channels == outputs {
                let layer = Residual::new(layer, None, Activation::None);
                layers.push(make.level(), name, layer, outputs);
            } else {
                layers.push(make.level(), name, layer, outputs);
            }
            block += 1;
            channels = outputs;
        }
    }
    Ok(layers)
}

/// Wide, depthwise, and narrow again without a rectifier.
fn inverted_residual(
    make: &mut Builder<'_>,
    stage: &Stage,
    [inputs, outputs]: [usize; 2],
    stride: usize,
) -> Result<Chain> {
    let wide = inputs * stage.expansion;
    let mut block = Chain::default();
    if stage.expansion > 1 {
        let expand = make.convolution([inputs, wide], 1, 1, 0, Activation::Relu6)?;
        block.push("expand.", expand);
    }
    let depthwise = make.depthwise(wide, stage.kernel, stride, Padding::Same, Activation::Relu6)?;
    block.push("depthwise.", depthwise);
    let project = make.convolution([wide, outputs], 1, 1, 0, Activation::None)?;
    block.push("project.", project);
    Ok(block)
}
