//! Convolution layers: dense ones of any kernel, and depthwise ones of 3x3 and 5x5.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c, o are what the field calls the sides"
)]

use super::card::{self, Recorded};
use super::values::{read, write};
use super::{Layer, Parameter, Pass, Slot, Visitor, kept};
use crate::kernels::bias;
use crate::kernels::convolution::{self as dense, Weights};
use crate::kernels::depthwise;
use crate::kernels::{Activation, Padding};
use crate::rng::Rng;
use candle_core::{Device, Error, Result, Tensor, Var};

/// A convolution: `[n, h, w, inputs]` to `[n, h', w', outputs]`. Weight: `[outputs, inputs, k, k]`; a bias if asked.
#[derive(Debug)]
pub struct Convolution {
    weight: Parameter,
    stride: usize,
    padding: Padding,
    bias: Option<Parameter>,
    after: Activation,
    x: Option<Tensor>,
    /// The weights as inference reads them.
    ready: Option<Weights>,
    /// Where the gradient passes what comes after the bias, of the last forward pass.
    passes: Vec<u8>,
    on_card: Option<Recorded>,
}

impl Convolution {
    /// Without bias, with weights drawn after He et al. 2015 (variance 2 / inputs of an output).
    pub fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: impl Into<Padding>,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Self> {
        let deviation = (2.0 / (inputs * kernel * kernel) as f64).sqrt();
        let shape = [outputs, inputs, kernel, kernel];
        Ok(Self {
            weight: Parameter::normal(&shape, deviation, rng, device)?,
            stride,
            padding: padding.into(),
            bias: None,
            after: Activation::None,
            x: None,
            ready: None,
            passes: Vec::new(),
            on_card: None,
        })
    }

    /// With a learned bias, 0 at first, and an activation in the same pass.
    pub fn with_bias(self, after: Activation) -> Result<Self> {
        let outputs = self.weight.value.dim(0)?;
        let bias = Parameter::constant(outputs, 0.0, self.weight.value.device())?;
        Ok(Self {
            bias: Some(bias),
            after,
            ..self
        })
    }

    fn shape(&self, x: &Tensor) -> Result<dense::Convolution> {
        let (n, h, w, c) = x.dims4()?;
        let (o, inputs, kernel, _) = self.weight.value.dims4()?;
        check_channels(c, inputs)?;
        check_fits(self.padding, [h, w], kernel)?;
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

    /// The weights as the kernel reads them for this input, each output times its factor.
    pub(super) fn ready(&self, x: &Tensor, factors: Option<&[f32]>) -> Result<Weights> {
        let it = self.shape(x)?;
        let weights = read(&self.weight.value)?;
        let Some(factors) = factors else {
            return Ok(Weights::new(&it, &weights));
        };
        let mut weights = weights.to_vec();
        scale(&mut weights, factors);
        Ok(Weights::new(&it, &weights))
    }

    /// Whether weights of [`Self::ready`] serve for this input too.
    pub(super) fn fit(&self, weights: &Weights, x: &Tensor) -> Result<bool> {
        Ok(weights.fit(&self.shape(x)?))
    }

    /// The product with these weights, a bias and what comes after.
    pub(super) fn apply(
        &self,
        x: &Tensor,
        weights: &Weights,
        bias: Option<&[f32]>,
        after: Activation,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        let it = self.shape(x)?;
        let y = pass.take(&[it.n, it.out_h(), it.out_w(), it.o])?;
        let values = read(x)?;
        write(&y, |y| {
            dense::forward(&it, &values, weights, bias, after, y);
        })?;
        Ok(y)
    }

    /// The output in a training step, after which the weights change.
    fn output_once(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let it = self.shape(x)?;
        let y = pass.take(&[it.n, it.out_h(), it.out_w(), it.o])?;
        let (values, weights) = (read(x)?, read(&self.weight.value)?);
        let bias = self.bias.as_ref().map(|it| read(&it.value)).transpose()?;
        write(&y, |y| {
            dense::forward_once(&it, &values, &weights, bias.as_deref(), self.after, y);
        })?;
        Ok(y)
    }

    /// The output with the layer's own bias.
    fn output(&self, x: &Tensor, weights: &Weights, pass: &mut Pass) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|it| read(&it.value)).transpose()?;
        self.apply(x, weights, bias.as_deref(), self.after, pass)
    }
}

/// Multiplies the weights of each output by its factor.
fn scale(weights: &mut [f32], factors: &[f32]) {
    let of_output = weights.len() / factors.len();
    for (weights, factor) in weights.chunks_exact_mut(of_output).zip(factors) {
        for it in weights {
            *it *= factor;
        }
    }
}

/// A convolution of another number of channels would read past its pixels.
fn check_channels(given: usize, expected: usize) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    let text = format!("a convolution over {expected} channels was given {given}");
    Err(Error::Msg(text))
}

fn check_fits(padding: Padding, [h, w]: [usize; 2], kernel: usize) -> Result<()> {
    if padding.fits(h, kernel) && padding.fits(w, kernel) {
        return Ok(());
    }
    let text = format!("a kernel of side {kernel} finds no place in a picture of {w} x {h} pixels");
    Err(Error::Msg(text))
}

/// On a card.
impl Convolution {
    fn forward_on_card(&mut self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let mut values = vec![&self.weight.value];
        values.extend(self.bias.as_ref().map(|it| &it.value));
        let (stride, padding, after) = (self.stride, self.padding, self.after);
        card::record(&mut self.on_card, x, &values, |x, p| {
            let bias = p.get(1).map(Var::as_tensor);
            let y = card::convolution::dense(x, &p[0], bias, stride, padding, pass.precision())?;
            card::activation(&y, after)
        })
    }

    fn backward_on_card(&mut self, dy: &Tensor) -> Result<Option<Tensor>> {
        let recorded = kept(&mut self.on_card)?;
        let mut parameters = vec![&mut self.weight];
        parameters.extend(self.bias.as_mut());
        recorded.backward(dy, &mut parameters).map(Some)
    }

    fn infer_on_card(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let (weight, bias) = (&self.weight.value, self.bias.as_ref().map(|it| &it.value));
        let (stride, padding) = (self.stride, self.padding);
        let y = card::convolution::dense(x, weight, bias, stride, padding, pass.precision())?;
        card::activation(&y, self.after)
    }
}

impl Layer for Convolution {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(&x, pass);
        }
        // The step that follows changes the weights.
        self.ready = None;
        let y = self.output_once(&x, pass)?;
        if self.after != Activation::None {
            self.passes.resize(y.elem_count(), 0);
            bias::mark(&read(&y)?, self.after, &mut self.passes);
        }
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return self.backward_on_card(&dy);
        }
        let x = kept(&mut self.x)?;
        let it = self.shape(&x)?;
        if let Some(bias) = &self.bias {
            let passes = (self.after != Activation::None).then_some(self.passes.as_slice());
            let sum = write(&dy, |dy| bias::backward(dy, passes, it.o))?;
            write(&bias.gradient, |gradient| gradient.copy_from_slice(&sum))?;
        }
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
            write(&x, |dx| {
                dense::backward_input(&it, &weights, &dy_values, dx);
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
        if pass.is_on_card() {
            return self.infer_on_card(&x, pass);
        }
        let weights = match self.ready.take() {
            Some(it) if self.fit(&it, &x)? => it,
            _ => self.ready(&x, None)?,
        };
        let y = self.output(&x, &weights, pass)?;
        self.ready = Some(weights);
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        // A visitor may change what it sees.
        self.ready = None;
        visitor(
            &format!("{prefix}weight"),
            Slot::Parameter(&mut self.weight),
        )?;
        match &mut self.bias {
            Some(bias) => visitor(&format!("{prefix}bias"), Slot::Parameter(bias)),
            None => Ok(()),
        }
    }
}

/// A depthwise convolution without bias, of 3x3 or 5x5. Weight: `[channels, 1, k, k]`.
#[derive(Debug)]
pub struct Depthwise {
    weight: Parameter,
    stride: usize,
    padding: Padding,
    x: Option<Tensor>,
    on_card: Option<Recorded>,
}

impl Depthwise {
    /// 3x3 with a border of one; the weights are drawn after He et al. 2015.
    pub fn new(channels: usize, stride: usize, rng: &mut Rng, device: &Device) -> Result<Self> {
        Self::of(channels, 3, stride, 1, rng, device)
    }

    /// `kernel` is 3 or 5, the padding less than it; else an error.
    pub fn of(
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: impl Into<Padding>,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Self> {
        let padding = padding.into();
        let is_wide = matches!(padding, Padding::Even(it) if it >= kernel);
        if !matches!(kernel, 3 | 5) || is_wide {
            let text = format!(
                "a depthwise convolution has a kernel of 3 or 5 and a smaller padding, this has {kernel} and {padding:?}"
            );
            return Err(Error::Msg(text));
        }
        let deviation = (2.0 / (kernel * kernel) as f64).sqrt();
        let shape = [channels, 1, kernel, kernel];
        Ok(Self {
            weight: Parameter::normal(&shape, deviation, rng, device)?,
            stride,
            padding,
            x: None,
            on_card: None,
        })
    }

    fn shape(&self, x: &Tensor) -> Result<depthwise::Depthwise> {
        let (n, h, w, c) = x.dims4()?;
        let (channels, _, kernel, _) = self.weight.value.dims4()?;
        check_channels(c, channels)?;
        check_fits(self.padding, [h, w], kernel)?;
        Ok(depthwise::Depthwise {
            n,
            h,
            w,
            c,
            kernel,
            stride: self.stride,
            padding: self.padding,
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
        scale(&mut weights, factors);
        Ok(weights)
    }
}

/// On a card.
impl Depthwise {
    fn forward_on_card(&mut self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = (self.stride, self.padding);
        card::record(&mut self.on_card, x, &[&self.weight.value], |x, p| {
            card::convolution::depthwise(x, &p[0], stride, padding)
        })
    }

    fn infer_on_card(&self, x: &Tensor) -> Result<Tensor> {
        card::convolution::depthwise(x, &self.weight.value, self.stride, self.padding)
    }
}

impl Layer for Depthwise {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(&x);
        }
        let y = self.apply(&x, &read(&self.weight.value)?, None, Activation::None, pass)?;
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return kept(&mut self.on_card)?
                .backward(&dy, &mut [&mut self.weight])
                .map(Some);
        }
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
        if pass.is_on_card() {
            return self.infer_on_card(&x);
        }
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
