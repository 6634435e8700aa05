//! What the families share: channels at a scale, strides at a side, streams of random numbers, and the head.

use super::body::Body;
use super::{Architecture, Network, Scale};
use crate::layers::{
    Activation, BatchNorm, Block, Convolution, Depthwise, GlobalAveragePool, Linear, Padding,
};
use crate::rng::{Purpose, Rng};
use candle_core::{Device, Result};

/// Makes the layers of one network, in their order.
pub(super) struct Builder<'a> {
    device: &'a Device,
    seed: u64,
    /// Layers with weights so far; each draws from a stream of its own.
    stream: u64,
    scale: Scale,
    /// Halvings of the picture that are left.
    halvings: usize,
    /// Halvings so far.
    level: usize,
    epsilon: f64,
}

/// How often the picture is halved. The papers halve 224 pixels five times; crops of cells are smaller, and
/// what is averaged at the end should be 4 x 4 positions or more. The last halvings are left out, since the
/// early ones save the most time. No weight depends on it, so weights for 224 pixels work at any side.
const fn n_halvings(side: usize) -> usize {
    match side {
        ..32 => 2,
        32..64 => 3,
        64..128 => 4,
        128.. => 5,
    }
}

impl<'a> Builder<'a> {
    pub(super) const fn new(scale: Scale, side: usize, seed: u64, device: &'a Device) -> Self {
        Self {
            device,
            seed,
            stream: 0,
            scale,
            halvings: n_halvings(side),
            level: 0,
            epsilon: 1e-5,
        }
    }

    /// With another number added to variances.
    pub(super) const fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// Channels at the network's scale: the nearest multiple of 8, so that they fill vector registers.
    pub(super) const fn width(&self, channels: usize) -> usize {
        let scaled = match self.scale {
            Scale::Small => channels / 2,
            Scale::Normal => channels,
            Scale::Big => channels + channels / 2,
        };
        (scaled + 4) / 8 * 8
    }

    /// Whether the picture is halved where the paper does so: while halvings are left.
    pub(super) const fn halves(&mut self) -> bool {
        let any = self.halvings > 0;
        self.halvings -= any as usize;
        self.level += any as usize;
        any
    }

    /// The stride of a layer that halves the picture in the paper, or not.
    pub(super) const fn stride(&mut self, halves: bool) -> usize {
        1 + (halves && self.halves()) as usize
    }

    /// How often the picture was halved by the layers so far.
    pub(super) const fn level(&self) -> usize {
        self.level
    }

    pub(super) fn rng(&mut self) -> Rng {
        self.stream += 1;
        Rng::new(self.seed, Purpose::Weights, [self.stream, 0])
    }

    pub(super) const fn device(&self) -> &'a Device {
        self.device
    }

    fn norm(&self, channels: usize, after: Activation) -> Result<BatchNorm> {
        Ok(BatchNorm::new(channels, after, self.device)?.with_epsilon(self.epsilon))
    }

    /// A convolution, batch normalisation, and what comes after.
    pub(super) fn convolution(
        &mut self,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: impl Into<Padding>,
        after: Activation,
    ) -> Result<Block> {
        let rng = &mut self.rng();
        let map = Convolution::new([inputs, outputs], kernel, stride, padding, rng, self.device)?;
        Ok(Block::new(map, self.norm(outputs, after)?))
    }

    /// A depthwise convolution, batch normalisation, and what comes after.
    pub(super) fn depthwise(
        &mut self,
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: impl Into<Padding>,
        after: Activation,
    ) -> Result<Block> {
        let rng = &mut self.rng();
        let map = Depthwise::of(channels, kernel, stride, padding, rng, self.device)?;
        Ok(Block::new(map, self.norm(channels, after)?))
    }

    /// The body with its head: the mean over all positions, features, dropout, classes.
    pub(super) fn finish(mut self, body: Body, it: &Architecture, dropout: f64) -> Result<Network> {
        self.epsilon = 1e-5;
        let channels = body.channels();
        let (rng, device) = (&mut self.rng(), self.device);
        let features = Linear::new([channels, it.features], false, rng, device)?;
        let features = Block::new(features, self.norm(it.features, Activation::Relu)?);
        let rng = &mut self.rng();
        let classes = Linear::new([it.features, it.n_classes], true, rng, device)?;
        let body = body.whole().then("", GlobalAveragePool::default());
        Ok(Network::new(body, features, dropout, classes))
    }
}
