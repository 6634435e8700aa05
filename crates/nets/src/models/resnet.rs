//! `ResNet` of basic blocks: <https://arxiv.org/abs/1512.03385>, table 1.

use super::body::Body;
use super::builder::Builder;
use super::{Architecture, Network};
use crate::layers::{Activation, Chain, MaxPool, Residual};
use candle_core::{Device, Result};

/// Channels of the stages; all but the first halve the picture in their first block.
const STAGES: [usize; 4] = [64, 128, 256, 512];

/// The network with fresh weights and this number of blocks in each stage.
pub(super) fn resnet(
    it: &Architecture,
    n_blocks: [usize; 4],
    dropout: f64,
    seed: u64,
    device: &Device,
) -> Result<Network> {
    let mut make = Builder::new(it.scale, it.side, seed, device);
    let body = body(&mut make, n_blocks)?;
    make.finish(body, it, dropout)
}

/// All stages.
pub(super) fn body(make: &mut Builder<'_>, n_blocks: [usize; 4]) -> Result<Body> {
    let mut layers = Body::default();
    let mut channels = make.width(STAGES[0]);
    let stride = make.stride(true);
    let stem = make.convolution([3, channels], 7, stride, 3, Activation::Relu)?;
    layers.push(make.level(), "stem.", stem, channels);
    if make.halves() {
        layers.push(make.level(), "", MaxPool::new(3, 2, 1), channels);
    }
    for (stage, (outputs, n)) in STAGES.into_iter().zip(n_blocks).enumerate() {
        let outputs = make.width(outputs);
        for at in 0..n {
            let stride = make.stride(stage > 0 && at == 0);
            let block = basic_block(make, [channels, outputs], stride)?;
            layers.push(
                make.level(),
                format!("stages.{stage}.{at}."),
                block,
                outputs,
            );
            channels = outputs;
        }
    }
    Ok(layers)
}

/// Two 3x3 convolutions beside a shortcut, which is a projection where the channels change (option B of the paper).
fn basic_block(
    make: &mut Builder<'_>,
    [inputs, outputs]: [usize; 2],
    stride: usize,
) -> Result<Residual> {
    let body = Chain::default()
        .then(
            "first.",
            make.convolution([inputs, outputs], 3, stride, 1, Activation::Relu)?,
        )
        .then(
            "second.",
            make.convolution([outputs, outputs], 3, 1, 1, Activation::None)?,
        );
    let shortcut = if inputs == outputs && stride == 1 {
        None
    } else {
        let projection = make.convolution([inputs, outputs], 1, stride, 0, Activation::None)?;
        Some(Chain::default().then("", projection))
    };
    Ok(Residual::new(body, shortcut, Activation::Relu))
}
