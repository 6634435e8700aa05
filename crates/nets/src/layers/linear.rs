//! The linear layer.

use super::card::{self, Recorded};
use super::values::{read, write};
use super::{Layer, Parameter, Pass, Slot, Visitor, kept};
use crate::kernels::convolution::{self as dense, Convolution, Weights};
use crate::kernels::{Activation, Padding};
use crate::rng::Rng;
use candle_core::{Device, Result, Tensor, Var};

/// `[n, inputs]` to `[n, outputs]`. Weight: `[outputs, inputs]`, and a bias if asked.
///
/// To the kernels it is a 1x1 convolution of images of one pixel.
#[derive(Debug)]
pub struct Linear {
    pub(super) weight: Parameter,
    bias: Option<Parameter>,
    x: Option<Tensor>,
    on_card: Option<Recorded>,
}

impl Linear {
    /// Weights of variance 1 / inputs, bias 0.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        bias: bool,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Self> {
        let deviation = (1.0 / inputs as f64).sqrt();
        let bias = bias.then(|| Parameter::constant(outputs, 0.0, device));
        Ok(Self {
            weight: Parameter::normal(&[outputs, inputs], deviation, rng, device)?,
            bias: bias.transpose()?,
            x: None,
            on_card: None,
        })
    }

    fn shape(&self, x: &Tensor) -> Result<Convolution> {
        let (n, c) = x.dims2()?;
        let (o, inputs) = self.weight.value.dims2()?;
        if c != inputs {
            let text = format!("a linear layer over {inputs} features was given {c}");
            return Err(candle_core::Error::Msg(text));
        }
        Ok(Convolution {
            n,
            h: 1,
            w: 1,
            c,
            o,
            kernel: 1,
            stride: 1,
            padding: Padding::Even(0),
        })
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
        let y = pass.take(&[it.n, it.o])?;
        let values = read(x)?;
        write(&y, |y| {
            dense::forward(&it, &values, weights, bias, after, y);
        })?;
        Ok(y)
    }

    /// The weights as the kernel reads them, each output times its factor.
    pub(super) fn ready(&self, x: &Tensor, factors: &[f32]) -> Result<Weights> {
        let mut weights = read(&self.weight.value)?.to_vec();
        let inputs = weights.len() / factors.len();
        for (weights, factor) in weights.chunks_exact_mut(inputs).zip(factors) {
            for it in weights.iter_mut() {
                *it *= factor;
            }
        }
        Ok(Weights::new(&self.shape(x)?, &weights))
    }

    fn output(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let it = self.shape(x)?;
        let y = pass.take(&[it.n, it.o])?;
        let bias = self.bias.as_ref().map(|it| read(&it.value)).transpose()?;
        let (x, weights) = (read(x)?, read(&self.weight.value)?);
        write(&y, |y| {
            let bias = bias.as_deref();
            dense::forward_once(&it, &x, &weights, bias, Activation::None, y);
        })?;
        Ok(y)
    }
}

/// On a card.
impl Linear {
    fn forward_on_card(&mut self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let mut values = vec![&self.weight.value];
        values.extend(self.bias.as_ref().map(|it| &it.value));
        card::record(&mut self.on_card, x, &values, |x, p| {
            let bias = p.get(1).map(Var::as_tensor);
            card::convolution::linear(x, &p[0], bias, pass.precision())
        })
    }

    fn backward_on_card(&mut self, dy: &Tensor) -> Result<Option<Tensor>> {
        let recorded = kept(&mut self.on_card)?;
        let mut parameters = vec![&mut self.weight];
        parameters.extend(self.bias.as_mut());
        recorded.backward(dy, &mut parameters).map(Some)
    }
}

impl Layer for Linear {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(&x, pass);
        }
        let y = self.output(&x, pass)?;
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return self.backward_on_card(&dy);
        }
        let x = kept(&mut self.x)?;
        let it = self.shape(&x)?;
        let dy_values = read(&dy)?;
        {
            let x = read(&x)?;
            write(&self.weight.gradient, |dw| {
                dense::backward_weights(&it, &x, &dy_values, dw);
            })?;
        }
        if let Some(bias) = &self.bias {
            write(&bias.gradient, |sum| {
                sum.fill(0.0);
                for row in dy_values.chunks_exact(it.o) {
                    sum.iter_mut().zip(row).for_each(|(sum, dy)| *sum += dy);
                }
            })?;
        }
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
            let bias = self.bias.as_ref().map(|it| &it.value);
            return card::convolution::linear(&x, &self.weight.value, bias, pass.precision());
        }
        let y = self.output(&x, pass)?;
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
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
