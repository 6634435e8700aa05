//! A dense network and its passes, pixels last whatever the device computes with.

use crate::device::OpenDevice;
use crate::layers::{Chain, Layer, Pass};
use candle_core::{Result, Tensor};

/// Layers, and what passes through them.
#[derive(Debug)]
pub(crate) struct DenseNetwork {
    pub(crate) layers: Chain,
    pub(crate) pass: Pass,
}

impl DenseNetwork {
    pub(crate) fn new(layers: Chain, seed: u64, device: &OpenDevice) -> Self {
        Self {
            layers,
            pass: device.pass(seed),
        }
    }

    /// Answers `[n, h', w', outputs]` to pictures `[n, h, w, 3]` in training mode.
    pub(crate) fn forward(&mut self, x: Tensor) -> Result<Tensor> {
        let x = self.inwards(x)?;
        let y = self.layers.forward(x, &mut self.pass)?;
        self.outwards(y)
    }

    /// Sets the gradient of every parameter, from the loss's gradient in the answers.
    pub(crate) fn backward(&mut self, dy: Tensor) -> Result<()> {
        let dy = self.inwards(dy)?;
        self.layers.backward(dy, false, &mut self.pass).map(drop)
    }

    /// Answers in inference mode. Give them back after reading.
    pub(crate) fn infer(&mut self, x: Tensor) -> Result<Tensor> {
        let x = self.inwards(x)?;
        let y = self.layers.infer(x, &mut self.pass)?;
        self.outwards(y)
    }

    fn inwards(&self, it: Tensor) -> Result<Tensor> {
        if self.pass.is_on_card() {
            return it.permute((0, 3, 1, 2))?.contiguous();
        }
        Ok(it)
    }

    fn outwards(&self, it: Tensor) -> Result<Tensor> {
        if self.pass.is_on_card() {
            return it.permute((0, 2, 3, 1))?.contiguous();
        }
        Ok(it)
    }
}
