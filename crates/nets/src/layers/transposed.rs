//! The transposed convolution that doubles a picture.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c, o are what the field calls the sides"
)]

use super::card::{self, Recorded};
use super::values::{read, write};
use super::{Layer, Parameter, Pass, Slot, Visitor, kept};
use crate::kernels::transposed::{self, Transposed};
use crate::rng::Rng;
use candle_core::{Device, Error, Result, Tensor};

/// A transposed convolution 2x2 with stride 2 and a bias: `[n, h, w, inputs]` to `[n, 2 h, 2 w, outputs]`.
/// Weight: `[inputs, outputs, 2, 2]`.
#[derive(Debug)]
pub struct TransposedConvolution {
    weight: Parameter,
    bias: Parameter,
    x: Option<Tensor>,
    on_card: Option<Recorded>,
}

impl TransposedConvolution {
    /// Weights of variance 1 / inputs (each output value has one pixel for input), bias 0.
    pub fn new([inputs, outputs]: [usize; 2], rng: &mut Rng, device: &Device) -> Result<Self> {
        let deviation = (1.0 / inputs as f64).sqrt();
        Ok(Self {
            weight: Parameter::normal(&[inputs, outputs, 2, 2], deviation, rng, device)?,
            bias: Parameter::constant(outputs, 0.0, device)?,
            x: None,
            on_card: None,
        })
    }

    fn shape(&self, x: &Tensor) -> Result<Transposed> {
        let (n, h, w, c) = x.dims4()?;
        let (inputs, o, _, _) = self.weight.value.dims4()?;
        if c != inputs {
            let text = format!("a transposed convolution over {inputs} channels was given {c}");
            return Err(Error::Msg(text));
        }
        Ok(Transposed { n, h, w, c, o })
    }

    fn output(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let it = self.shape(x)?;
        let y = pass.take(&[it.n, 2 * it.h, 2 * it.w, it.o])?;
        let (x, bias) = (read(x)?, read(&self.bias.value)?);
        let packed = transposed::pack(&read(&self.weight.value)?, it.o);
        write(&y, |y| transposed::forward(&it, &x, &packed, &bias, y))?;
        Ok(y)
    }
}

impl Layer for TransposedConvolution {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return card::record(
                &mut self.on_card,
                &x,
                &[&self.weight.value, &self.bias.value],
                |x, p| card::convolution::transposed(x, &p[0], &p[1], pass.precision()),
            );
        }
        let y = self.output(&x, pass)?;
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return kept(&mut self.on_card)?
                .backward(&dy, &mut [&mut self.weight, &mut self.bias])
                .map(Some);
        }
        let x = kept(&mut self.x)?;
        let it = self.shape(&x)?;
        let packed = transposed::pack(&read(&self.weight.value)?, it.o);
        {
            let dy = read(&dy)?;
            write(&x, |x| {
                write(&self.weight.gradient, |dw| {
                    write(&self.bias.gradient, |db| {
                        transposed::backward(&it, &packed, &dy, x, dw, db);
                    })
                })
            })???;
        }
        pass.give(dy);
        if wanted {
            return Ok(Some(x));
        }
        pass.give(x);
        Ok(None)
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return card::convolution::transposed(
                &x,
                &self.weight.value,
                &self.bias.value,
                pass.precision(),
            );
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
        visitor(&format!("{prefix}bias"), Slot::Parameter(&mut self.bias))
    }
}
