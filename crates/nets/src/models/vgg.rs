//! VGG, as the paper: convolutions with bias, no normalisation: <https://arxiv.org/abs/1409.1556>, table 1.
//! The mean over all positions and the features of the other families take the place of its two layers of 4096.

use super::body::Body;
use super::builder::Builder;
use super::{Architecture, Network};
use crate::layers::{Activation, Convolution, MaxPool};
use candle_core::{Device, Result};

/// Channels of the stages; a pool that halves the picture ends each.
const STAGES: [usize; 5] = [64, 128, 256, 512, 512];

/// The network with fresh weights and this number of convolutions in each stage.
pub(super) fn vgg(
    it: &Architecture,
    n_convolutions: [usize; 5],
    dropout: f64,
    seed: u64,
    device: &Device,
) -> Result<Network> {
    let mut make = Builder::new(it.scale, it.side, seed, device);
    let body = body(&mut make, n_convolutions)?;
    make.finish(body, it, dropout)
}

/// All stages.
pub(super) fn body(make: &mut Builder<'_>, n_convolutions: [usize; 5]) -> Result<Body> {
    let mut layers = Body::default();
    let mut channels = 3;
    for (stage, (outputs, n)) in STAGES.into_iter().zip(n_convolutions).enumerate() {
        let outputs = make.width(outputs);
        for at in 0..n {
            let rng = &mut make.rng();
            let it = Convolution::new([channels, outputs], 3, 1, 1, rng, make.device())?;
            let it = it.with_bias(Activation::Relu)?;
            layers.push(make.level(), format!("stages.{stage}.{at}."), it, outputs);
            channels = outputs;
        }
        if make.halves() {
            layers.push(make.level(), "", MaxPool::new(2, 2, 0), channels);
        }
    }
    Ok(layers)
}
