//! Convolution layers: dense ones of any kernel, and depthwise ones of 3x3.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c, o are what the field calls the sides"
)]

use super::values::{read, write};
use super::{Layer, Parameter, Pass, Slot, Visitor, kept};
use crate::kernels::Activation;
use crate::kernels::convolution as dense;
use crate::kernels::depthwise;
use crate::rng::Rng;
use candle_core::{Device, Result, Tensor};

/// A convolution without bias: `[n, h, w, inputs]` to `[n, h', w', outputs]`. Weight: `[outputs, inputs, k, k]`.
#[derive(Debug)]
pub struct Convolution {
    pub(super) weight: Parameter,
    stride: usize,
    padding: usize,
    x: Option<Tensor>,
}

impl Convolution {
    /// With weights drawn after He et al. 2015 (variance 2 / inputs of an output).
    pub fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Self> {
        let deviation = (2.0 / (inputs * kernel * kernel) as f64).sqrt();
        let shape = [outputs, inputs, kernel, kernel];
        Ok(Self {
            weight: Parameter::normal(&shape, deviation, rng, device)?,
            stride,
            padding,
            x: None,
        })
    }

    fn shape(&self, x: &Tensor) -> Result<dense::Convolution> {
        let (n, h, w, c) = x.dims4()?;
        let (o, inputs, kernel, _) = self.weight.value.dims4()?;
        check_channels(c, inputs)?;
        Ok(dense::Convolution {
            n,
            h,
            w,
            c,
            o,
            kernel,
            stride: self.stride,
            padding: self.padding,
        })
    }

    /// The product with these packed weights, a bias and what comes after.
    pub(super) fn apply(
        &self,
        x: &Tensor,
        packed: &[f32],
        bias: Option<&[f32]>,
        after: Activation,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        let it = self.shape(x)?;
        let y = pass.take(&[it.n, it.out_h(), it.out_w(), it.o])?;
        let values = read(x)?;
        write(&y, |y| dense::forward(&it, &values, packed, bias, after, y))?;
        Ok(y)
    }

    /// Weights in the order of the kernel, each output times its factor.
    pub(super) fn folded(&self, factors: &[f32]) -> Result<Vec<f32>> {
        let (o, c, kernel, _) = self.weight.value.dims4()?;
        let mut weights = read(&self.weight.value)?.to_vec();
        for (weights, factor) in weights.chunks_exact_mut(c * kernel * kernel).zip(factors) {
            for it in weights.iter_mut() {
                *it *= factor;
            }
        }
        Ok(dense::pack(&weights, o, c, kernel))
    }
}

/// A convolution of another number of channels would read past its pixels.
fn check_channels(given: usize, expected: usize) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    let text = format!("a convolution over {expected} channels was given {given}");
    Err(candle_core::Error::Msg(text))
}

impl Layer for Convolution {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let y = self.infer_kept(&x, pass)?;
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        let x = kept(&mut self.x)?;
        let it = self.shape(&x)?;
        let dy_values = read(&dy)?;
        {
            let x = read(&x)?;
            write(&self.weight.gradient, |dw| {
                dense::backward_weights(&it, &x, &dy_values, dw);
            })?;
        }
        // The input was read for the last time, so its gradient takes its place.
        let dx = if wanted {
            let weights = read(&self.weight.value)?;
            let packed = dense::pack(&weights, it.o, it.c, it.kernel);
            write(&x, |dx| dense::backward_input(&it, &packed, &dy_values, dx))?;
            Some(x)
        } else {
            pass.give(x);
            None
        };
        drop(dy_values);
        pass.give(dy);
        Ok(dx)
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let y = self.infer_kept(&x, pass)?;
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        visitor(
            &format!("{prefix}weight"),
            Slot::Parameter(&mut self.weight),
        )
    }
}

impl Convolution {
    fn infer_kept(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let (o, c, kernel, _) = self.weight.value.dims4()?;
        let weights = read(&self.weight.value)?;
        self.apply(
            x,
            &dense::pack(&weights, o, c, kernel),
            None,
            Activation::None,
            pass,
        )
    }
}

/// A depthwise 3x3 convolution with a border of one and without bias. Weight: `[channels, 1, 3, 3]`.
#[derive(Debug)]
pub struct Depthwise {
    pub(super) weight: Parameter,
    stride: usize,
    x: Option<Tensor>,
}

impl Depthwise {
    /// With weights drawn after He et al. 2015.
    pub fn new(channels: usize, stride: usize, rng: &mut Rng, device: &Device) -> Result<Self> {
        let deviation = (2.0_f64 / 9.0).sqrt();
        Ok(Self {
            weight: Parameter::normal(&[channels, 1, 3, 3], deviation, rng, device)?,
            stride,
            x: None,
        })
    }

    fn shape(&self, x: &Tensor) -> Result<depthwise::Depthwise> {
        let (n, h, w, c) = x.dims4()?;
        check_channels(c, self.weight.value.dim(0)?)?;
        Ok(depthwise::Depthwise {
            n,
            h,
            w,
            c,
            stride: self.stride,
        })
    }

    pub(super) fn apply(
        &self,
        x: &Tensor,
        weights: &[f32],
        bias: Option<&[f32]>,
        after: Activation,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        let it = self.shape(x)?;
        let y = pass.take(&[it.n, it.out_h(), it.out_w(), it.c])?;
        let values = read(x)?;
        write(&y, |y| {
            depthwise::forward(&it, &values, weights, bias, after, y);
        })?;
        Ok(y)
    }

    /// The weights, each channel times its factor.
    pub(super) fn folded(&self, factors: &[f32]) -> Result<Vec<f32>> {
        let mut weights = read(&self.weight.value)?.to_vec();
        for (weights, factor) in weights.chunks_exact_mut(9).zip(factors) {
            for it in weights.iter_mut() {
                *it *= factor;
            }
        }
        Ok(weights)
    }
}

impl Layer for Depthwise {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let y = self.apply(&x, &read(&self.weight.value)?, None, Activation::None, pass)?;
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        let x = kept(&mut self.x)?;
        let it = self.shape(&x)?;
        let dy_values = read(&dy)?;
        {
            let x = read(&x)?;
            write(&self.weight.gradient, |dw| {
                depthwise::backward_weights(&it, &x, &dy_values, dw);
            })?;
        }
        let dx = if wanted {
            let weights = read(&self.weight.value)?;
            write(&x, |dx| {
                depthwise::backward_input(&it, &weights, &dy_values, dx);
            })?;
            Some(x)
        } else {
            pass.give(x);
            None
        };
        drop(dy_values);
        pass.give(dy);
        Ok(dx)
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let y = self.apply(&x, &read(&self.weight.value)?, None, Activation::None, pass)?;
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        visitor(
            &format!("{prefix}weight"),
            Slot::Parameter(&mut self.weight),
        )
    }
}
