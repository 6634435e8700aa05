//! How much memory a step takes, before it is taken.

use super::options::DenseOptions;
use super::task::Task;
use crate::layers::{Layer as _, Pass, Slot};
use candle_core::{DType, Device, Result, Tensor};

/// Larger crops are not computed for it: what layers keep grows with the number of pixels.
const PROBED_SIDE: usize = 128;
/// A value has a gradient, two moments, an average, and a copy from before the epoch.
const OF_A_PARAMETER: u64 = 6;

/// Bytes that a step of training holds on the processor. Fields are not counted, nor what the program itself holds.
pub(crate) fn step_bytes<T: Task>(task: &T, options: &DenseOptions) -> Result<u64> {
    let side = options.side.min(PROBED_SIDE);
    let mut network = task.build(options.seed, &Device::Cpu)?;
    let mut pass = Pass::new(&Device::Cpu, options.seed);
    let x = Tensor::zeros((1, side, side, 3), DType::F32, &Device::Cpu)?;
    let y = network.forward(x, &mut pass)?;
    network.backward(y.zeros_like()?, false, &mut pass)?;
    let mut n_parameters = 0;
    network.visit("", &mut |_, slot| {
        if let Slot::Parameter(it) = slot {
            n_parameters += it.value.elem_count() as u64;
        }
        Ok(())
    })?;
    let of_weights = n_parameters * OF_A_PARAMETER * size_of::<f32>() as u64;
    let larger = (options.side * options.side) as f64 / (side * side) as f64;
    let of_a_crop = pass.buffers.made_bytes() as f64 * larger;
    Ok(of_weights + (of_a_crop * options.batch as f64) as u64)
}
