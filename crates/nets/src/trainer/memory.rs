//! How much memory a step takes, before it is taken: a process that asks for more than there is ends without a word.

use crate::layers::{Pass, Slot};
use crate::options::TrainOptions;
use candle_core::{DType, Device, Result, Tensor};

/// A step of two pictures shows what one keeps: normalisation needs two.
const PROBED: usize = 2;
/// Larger pictures are not computed for it: what layers keep grows with the number of pixels.
const PROBED_SIDE: usize = 128;
/// A value has a gradient and two moments.
const OF_A_PARAMETER: u64 = 4;

impl TrainOptions {
    /// Bytes that a step of training holds on the processor: weights with their gradients and moments, and what the
    /// layers keep of a batch. It runs a step of two small pictures, so it takes some milliseconds, of the largest
    /// networks a second. Pictures that wait for their step are not counted, nor what the program itself holds.
    pub fn step_bytes(&self) -> Result<u64> {
        let side = self.side.min(PROBED_SIDE);
        let probe = Self {
            side,
            ..self.clone()
        };
        let architecture = probe.architecture();
        let mut network = architecture.build(self.dropout, self.seed, &Device::Cpu)?;
        let mut pass = Pass::new(&Device::Cpu, self.seed);
        let x = Tensor::zeros((PROBED, side, side, 3), DType::F32, &Device::Cpu)?;
        let logits = network.forward(x, &mut pass)?;
        network.backward(logits.zeros_like()?, &mut pass)?;
        let mut n_parameters = 0;
        network.visit(&mut |_, slot| {
            if let Slot::Parameter(it) = slot {
                n_parameters += it.value.elem_count() as u64;
            }
            Ok(())
        })?;
        let averages = u64::from(self.ema.is_some());
        let of_weights = n_parameters * (OF_A_PARAMETER + averages) * size_of::<f32>() as u64;
        let larger = (self.side * self.side) as f64 / (side * side) as f64;
        let of_a_picture = pass.buffers.made_bytes() as f64 / PROBED as f64 * larger;
        Ok(of_weights + (of_a_picture * self.batch as f64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Family, Scale};

    /// What a step of a whole batch at the true side makes, beside what is said of it.
    fn of_a_true_step(options: &TrainOptions) -> u64 {
        let mut network = options.architecture().build(0.2, 1, &Device::Cpu).unwrap();
        let mut pass = Pass::new(&Device::Cpu, 1);
        let shape = (options.batch, options.side, options.side, 3);
        let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let logits = network.forward(x, &mut pass).unwrap();
        let dy = logits.zeros_like().unwrap();
        network.backward(dy, &mut pass).unwrap();
        pass.buffers.made_bytes()
    }

    #[test]
    fn a_small_step_tells_of_a_large_one() {
        for (family, side, batch) in [
            (Family::MobileNet, 64, 16),
            (Family::MobileNet, 256, 4),
            (Family::EfficientNetLite0, 96, 8),
            (Family::ResNet18, 160, 4),
            (Family::Vgg11, 192, 3),
        ] {
            let options = TrainOptions {
                family,
                scale: Scale::Small,
                side,
                batch,
                ..TrainOptions::default()
            };
            let found = of_a_true_step(&options) as f64;
            let without = TrainOptions {
                batch: 0,
                ..options.clone()
            };
            let (said, weights) = (options.step_bytes().unwrap(), without.step_bytes().unwrap());
            let said = (said - weights) as f64;
            assert!(weights > 1_000_000, "{weights}");
            assert!(
                (0.9..1.1).contains(&(said / found)),
                "{family:?}, {batch} of side {side}: {said} said, {found} taken"
            );
        }
    }
}
