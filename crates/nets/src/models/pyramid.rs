//! A family's levels joined again on the way up: features at a quarter of the picture's side that know its surroundings.
//!
//! A feature pyramid after <https://arxiv.org/abs/1612.03144> of which only the finest level answers, joined by
//! concatenation as in a U-Net. Why one level is enough for cells: `detector/design.md`.

use super::body::{Body, Level};
use super::builder::Builder;
use super::{Family, Scale, efficientnet, mobilenet, resnet, vgg};
use crate::layers::{Activation, Block, Chain, Convolution, Skip, Upsample};
use candle_core::{Device, Result};
use serde::{Deserialize, Serialize};

/// The level that answers for cells in boxes: the picture halved so often.
const FINEST: usize = 2;
/// Pictures have sides that are multiples of this: the deepest level halves them five times.
pub const MULTIPLE: usize = 32;
/// Side of a square of the picture for which there is one answer.
pub const STRIDE: usize = 1 << FINEST;
/// Channels of a picture.
const COLOURS: usize = 3;
/// A side at which the builder halves as often as the papers do.
const LARGE: usize = 1 << 10;

/// What a network with one answer for each square of [`STRIDE`] pixels is built from, apart from its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pyramid {
    /// Of the layers on the way down.
    pub family: Family,
    pub scale: Scale,
    /// Channels on the way up.
    pub width: usize,
    /// Values of one answer.
    pub n_outputs: usize,
}

/// Whether a value belongs to what comes after a family's layers.
pub(crate) fn is_above(name: &str) -> bool {
    name.starts_with(UP) || name.starts_with(ANSWER)
}

const UP: &str = "up.";
const ANSWER: &str = "answer.";
/// The last layer's bias, which decides what a fresh network says.
pub(crate) const ANSWER_BIAS: &str = "answer.last.bias";

impl Pyramid {
    /// Pictures `[n, h, w, 3]`, whose sides are multiples of [`MULTIPLE`], to answers
    /// `[n, h / STRIDE, w / STRIDE, n_outputs]`, with fresh weights of this seed.
    pub fn build(&self, seed: u64, device: &Device) -> Result<Chain> {
        self.build_up_to(FINEST, &["first", "second"], seed, device)
    }

    /// The same up to the picture's own size, to answers `[n, h, w, n_outputs]`. Nothing but the last convolution comes
    /// after the finest level: at that size every layer costs sixteen times what it does for [`Self::build`].
    pub fn build_whole(&self, seed: u64, device: &Device) -> Result<Chain> {
        self.build_up_to(0, &[], seed, device)
    }

    fn build_up_to(
        &self,
        finest: usize,
        before_last: &[&str],
        seed: u64,
        device: &Device,
    ) -> Result<Chain> {
        let mut make = Builder::new(self.scale, LARGE, seed, device);
        if self.family == Family::EfficientNetLite0 {
            make = make.with_epsilon(efficientnet::EPSILON);
        }
        let body = self.body(&mut make)?;
        let mut make = make.with_epsilon(1e-5);
        let mut levels = body.into_levels();
        let below = levels.split_off(finest);
        let mut network = Chain::default();
        for level in levels {
            network.append(level.layers);
        }
        let pyramid = self.join(&mut make, finest, below.into())?;
        network.append(pyramid);
        for name in before_last {
            let layer = self.convolution(&mut make, self.width)?;
            network.push(format!("{ANSWER}{name}."), layer);
        }
        let rng = &mut make.rng();
        let last = Convolution::new([self.width, self.n_outputs], 1, 1, 0, rng, device)?;
        network.push(format!("{ANSWER}last."), last.with_bias(Activation::None)?);
        Ok(network)
    }

    fn body(&self, make: &mut Builder<'_>) -> Result<Body> {
        match self.family {
            Family::MobileNet => mobilenet::body(make),
            Family::EfficientNetLite0 => efficientnet::body(make),
            Family::ResNet18 => resnet::body(make, [2, 2, 2, 2]),
            Family::ResNet34 => resnet::body(make, [3, 4, 6, 3]),
            Family::Vgg11 => vgg::body(make, [1, 1, 2, 2, 2]),
            Family::Vgg16 => vgg::body(make, [2, 2, 3, 3, 3]),
        }
    }

    /// The levels from here down, joined to `width` channels.
    fn join(
        &self,
        make: &mut Builder<'_>,
        number: usize,
        mut levels: std::collections::VecDeque<Level>,
    ) -> Result<Chain> {
        let Some(level) = levels.pop_front() else {
            return Ok(Chain::default());
        };
        let name = |part: &str| format!("{UP}{number}.{part}");
        if levels.is_empty() {
            let narrow =
                make.convolution([level.channels, self.width], 1, 1, 0, Activation::Relu)?;
            return Ok(level.layers.then(name("narrow."), narrow));
        }
        let inner = self.join(make, number + 1, levels)?;
        let inner = inner.then("", Upsample::default());
        // A family that halves the picture at once has no layer at its own size: there the colours are joined.
        let beside = if level.channels == 0 {
            COLOURS
        } else {
            level.channels
        };
        let joined = self.convolution(make, self.width + beside)?;
        let decode = Chain::default().then(name("joined."), joined);
        Ok(Chain::default().then("", Skip::new(level.layers, inner, decode)))
    }

    fn convolution(&self, make: &mut Builder<'_>, inputs: usize) -> Result<Block> {
        make.convolution([inputs, self.width], 3, 1, 1, Activation::Relu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Layer as _, Pass};
    use candle_core::{DType, Tensor};

    #[test]
    fn every_family_answers_for_every_square_and_learns() {
        for family in Family::ALL {
            let it = Pyramid {
                family,
                scale: Scale::Small,
                width: 16,
                n_outputs: 7,
            };
            let device = Device::Cpu;
            let mut network = it.build(1, &device).unwrap();
            let mut pass = Pass::new(&device, 1);
            let x = || Tensor::ones((2, 64, 96, 3), DType::F32, &device).unwrap();
            let y = network.infer(x(), &mut pass).unwrap();
            assert_eq!(y.dims4().unwrap(), (2, 16, 24, 7), "{family:?}");
            let y = network.forward(x(), &mut pass).unwrap();
            let dx = network.backward(y, false, &mut pass).unwrap();
            assert!(dx.is_none());
            let mut network = it.build_whole(1, &device).unwrap();
            let y = network.forward(x(), &mut pass).unwrap();
            assert_eq!(y.dims4().unwrap(), (2, 64, 96, 7), "{family:?}");
            network.backward(y, false, &mut pass).unwrap();
        }
    }
}
