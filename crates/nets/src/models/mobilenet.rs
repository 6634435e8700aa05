//! `MobileNet` version 1: <https://arxiv.org/abs/1704.04861>, table 1.

use super::body::Body;
use super::builder::Builder;
use super::{Architecture, Network};
use crate::layers::Activation;
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

/// The network with fresh weights.
pub(super) fn mobilenet(
    it: &Architecture,
    dropout: f64,
    seed: u64,
    device: &Device,
) -> Result<Network> {
    let mut make = Builder::new(it.scale, it.side, seed, device);
    let body = body(&mut make)?;
    make.finish(body, it, dropout)
}

/// All blocks.
pub(super) fn body(make: &mut Builder<'_>) -> Result<Body> {
    let mut layers = Body::default();
    let mut channels = make.width(STEM);
    let stride = make.stride(true);
    let stem = make.convolution([3, channels], 3, stride, 1, Activation::Relu)?;
    layers.push(make.level(), "stem.", stem, channels);
    for (at, (outputs, halves)) in BLOCKS.into_iter().enumerate() {
        let stride = make.stride(halves);
        let depthwise = make.depthwise(channels, 3, stride, 1, Activation::Relu)?;
        layers.push(
            make.level(),
            format!("blocks.{at}.depthwise."),
            depthwise,
            channels,
        );
        let outputs = make.width(outputs);
        let pointwise = make.convolution([channels, outputs], 1, 1, 0, Activation::Relu)?;
        layers.push(
            make.level(),
            format!("blocks.{at}.pointwise."),
            pointwise,
            outputs,
        );
        channels = outputs;
    }
    Ok(layers)
}
