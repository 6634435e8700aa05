//! The running mean of a network's weights: what is judged and kept where it was asked for.

use crate::kernels::kernel;
use crate::layers::Layer;
use crate::layers::values::read;
use crate::state::{self, Named};
use candle_core::Result;
use rayon::prelude::*;

/// Values of one task.
const CHUNK: usize = 1 << 14;

/// An exponential moving average of all values of a network, running statistics too.
#[derive(Clone, Debug)]
pub(crate) struct Average {
    decay: f64,
    pub(crate) values: Named,
}

impl Average {
    pub(crate) fn new(decay: f64, network: &mut dyn Layer) -> Result<Self> {
        let values = state::values_of(network)?;
        Ok(Self { decay, values })
    }

    /// Takes in the values after this step, from 1. The first steps weigh more, so that the fresh weights are soon
    /// forgotten: the decay is at most `(1 + step) / (10 + step)`.
    pub(crate) fn update(&mut self, network: &mut dyn Layer, step: u64) -> Result<()> {
        let step = step as f64;
        let keep = self.decay.min((1.0 + step) / (10.0 + step)) as f32;
        network.visit("", &mut |name, slot| {
            let value = read(slot.value())?;
            let (_, mean) = self
                .values
                .get_mut(name)
                .expect("the names are the network's");
            mean.par_chunks_mut(CHUNK)
                .zip(value.par_chunks(CHUNK))
                .for_each(|(mean, value)| blend(mean, value, keep));
            Ok(())
        })
    }

    /// Exchanges the average with the network's own values.
    pub(crate) fn swap(&mut self, network: &mut dyn Layer) -> Result<()> {
        let values = state::values_of(network)?;
        state::restore(network, &self.values)?;
        self.values = values;
        Ok(())
    }
}

kernel! {
fn blend<'a>(mean: &'a mut [f32], value: &'a [f32], keep: f32) {
    for (mean, value) in mean.iter_mut().zip(value) {
        *mean = value + keep * (*mean - value);
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::values::write;
    use crate::models::Network;
    use crate::options::TrainOptions;
    use candle_core::Device;

    #[test]
    fn the_average_follows_fast_at_first_and_then_by_its_decay() {
        let architecture = TrainOptions {
            side: 16,
            ..TrainOptions::default()
        }
        .architecture();
        let mut network = architecture.build(0.0, 1, &Device::Cpu).unwrap();
        let set = |network: &mut Network, to: f32| {
            let all = network.visit(&mut |_, slot| write(slot.value(), |it| it.fill(to)));
            all.unwrap();
        };
        set(&mut network, 1.0);
        let mut average = Average::new(0.9, &mut network).unwrap();
        set(&mut network, 3.0);
        let value = |it: &Average| it.values.values().next().unwrap().1[0];
        average.update(&mut network, 1).unwrap();
        // 2 / 11 of the old value stay.
        assert!((value(&average) - (3.0 - 2.0 * 2.0 / 11.0)).abs() < 1e-5);
        let before = value(&average);
        average.update(&mut network, 1000).unwrap();
        assert!((value(&average) - (3.0 + 0.9 * (before - 3.0))).abs() < 1e-5);
        average.swap(&mut network).unwrap();
        assert!((value(&average) - 3.0).abs() < 1e-6, "the network's own");
    }
}
