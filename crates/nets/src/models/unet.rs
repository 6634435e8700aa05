//! `U-Net`, for a class at every pixel: <https://arxiv.org/abs/1505.04597>, with borders kept and normalisation.

use super::Scale;
use super::builder::Builder;
use crate::layers::{Activation, Chain, Convolution, MaxPool, Skip, TransposedConvolution};
use candle_core::{Device, Result};

/// What a `U-Net` is built from, apart from its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UNet {
    /// Channels of the first level; each level below has twice as many.
    pub base: usize,
    /// How often the picture is halved. Its sides are multiples of 2 to this power.
    pub depth: usize,
    pub n_classes: usize,
}

impl Default for UNet {
    fn default() -> Self {
        Self {
            base: 16,
            depth: 4,
            n_classes: 2,
        }
    }
}

impl UNet {
    /// Pictures `[n, h, w, 3]` to logits `[n, h, w, classes]`, with fresh weights of this seed.
    pub fn build(&self, seed: u64, device: &Device) -> Result<Chain> {
        let mut make = Builder::new(Scale::Normal, 0, seed, device);
        let levels = level(&mut make, [3, self.base], self.depth)?;
        let rng = &mut make.rng();
        let classes = Convolution::new([self.base, self.n_classes], 1, 1, 0, rng, device)?;
        let classes = classes.with_bias(Activation::None)?;
        Ok(levels.then("classes.", classes))
    }
}

/// The levels from here down: two convolutions, everything below at half the side, and two convolutions on both.
fn level(make: &mut Builder<'_>, [inputs, channels]: [usize; 2], depth: usize) -> Result<Chain> {
    let convolutions = two_convolutions(make, [inputs, channels])?;
    if depth == 0 {
        return Ok(convolutions);
    }
    let encode = Chain::default().then("encode.", convolutions);
    let below = level(make, [channels, 2 * channels], depth - 1)?;
    let device = make.device();
    let up = TransposedConvolution::new([2 * channels, channels], &mut make.rng(), device)?;
    let inner = Chain::default()
        .then("", MaxPool::new(2, 2, 0))
        .then("below.", below)
        .then("up.", up);
    let convolutions = two_convolutions(make, [2 * channels, channels])?;
    let decode = Chain::default().then("decode.", convolutions);
    Ok(Chain::default().then("", Skip::new(encode, inner, decode)))
}

fn two_convolutions(make: &mut Builder<'_>, [inputs, channels]: [usize; 2]) -> Result<Chain> {
    let first = make.convolution([inputs, channels], 3, 1, 1, Activation::Relu)?;
    let second = make.convolution([channels, channels], 3, 1, 1, Activation::Relu)?;
    Ok(Chain::default()
        .then("first.", first)
        .then("second.", second))
}
