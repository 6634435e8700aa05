//! Average pooling, of the whole picture and of windows.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c are what the field calls the sides"
)]

use super::card::{self, Recorded};
use super::values::{read, write};
use super::{Layer, Pass, Visitor};
use crate::kernels::pool;
use candle_core::{Error, Result, Tensor};

/// The mean over the pixels: `[n, h, w, c]` to `[n, c]`.
#[derive(Debug, Default)]
pub struct GlobalAveragePool {
    x: Option<Tensor>,
    on_card: Option<Recorded>,
}

impl GlobalAveragePool {
    fn output(x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let (n, h, w, c) = x.dims4()?;
        let y = pass.take(&[n, c])?;
        let values = read(x)?;
        write(&y, |y| pool::forward(&values, h * w, c, y))?;
        Ok(y)
    }
}

impl Layer for GlobalAveragePool {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return card::record(&mut self.on_card, &x, &[], |x, _| card::pool::mean(x));
        }
        let y = Self::output(&x, pass)?;
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if let Some(recorded) = self.on_card.take() {
            return recorded.backward(&dy, &mut []).map(Some);
        }
        let x = super::kept(&mut self.x)?;
        if !wanted {
            pass.give(x);
            pass.give(dy);
            return Ok(None);
        }
        let (_, h, w, c) = x.dims4()?;
        {
            let dy = read(&dy)?;
            write(&x, |dx| pool::backward(&dy, h * w, c, dx))?;
        }
        pass.give(dy);
        Ok(Some(x))
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return card::pool::mean(&x);
        }
        let y = Self::output(&x, pass)?;
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, _prefix: &str, _visitor: &mut Visitor<'_>) -> Result<()> {
        Ok(())
    }
}

/// The mean under a sliding window without padding: `[n, h, w, c]` to `[n, h', w', c]`, with `h' = (h - kernel) /
/// stride + 1`. Lines that no window reaches are left out, as in `PyTorch`.
#[derive(Debug)]
pub struct AveragePool {
    kernel: usize,
    stride: usize,
    shape: Option<pool::AveragePool>,
    on_card: Option<Recorded>,
}

impl AveragePool {
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self {
            kernel,
            stride,
            shape: None,
            on_card: None,
        }
    }

    fn shape(&self, x: &Tensor) -> Result<pool::AveragePool> {
        let (n, h, w, c) = x.dims4()?;
        let (kernel, stride) = (self.kernel, self.stride);
        if kernel == 0 || stride == 0 || h.min(w) < kernel {
            let text = format!(
                "an average pool of kernel {kernel} and stride {stride} was given {w} x {h} pixels"
            );
            return Err(Error::Msg(text));
        }
        Ok(pool::AveragePool {
            n,
            h,
            w,
            c,
            kernel,
            stride,
        })
    }
}

/// On a card.
impl AveragePool {
    fn forward_on_card(&mut self, x: &Tensor) -> Result<Tensor> {
        let (kernel, stride, out) = (self.kernel, self.stride, self.out_on_card(x)?);
        card::record(&mut self.on_card, x, &[], |x, _| {
            card::pool::average(x, kernel, stride, out)
        })
    }

    fn infer_on_card(&self, x: &Tensor) -> Result<Tensor> {
        card::pool::average(x, self.kernel, self.stride, self.out_on_card(x)?)
    }

    fn out_on_card(&self, x: &Tensor) -> Result<(usize, usize)> {
        // The shape looks at pictures with their channels last.
        let it = self.shape(&x.permute((0, 2, 3, 1))?)?;
        Ok((it.out_h(), it.out_w()))
    }
}

impl Layer for AveragePool {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(&x);
        }
        self.shape = Some(self.shape(&x)?);
        self.infer(x, pass)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return super::kept(&mut self.on_card)?
                .backward(&dy, &mut [])
                .map(Some);
        }
        let it = super::kept(&mut self.shape)?;
        if !wanted {
            pass.give(dy);
            return Ok(None);
        }
        let dx = pass.take(&[it.n, it.h, it.w, it.c])?;
        {
            let dy = read(&dy)?;
            write(&dx, |dx| it.backward(&dy, dx))?;
        }
        pass.give(dy);
        Ok(Some(dx))
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.infer_on_card(&x);
        }
        let it = self.shape(&x)?;
        let y = pass.take(&[it.n, it.out_h(), it.out_w(), it.c])?;
        {
            let x = read(&x)?;
            write(&y, |y| it.forward(&x, y))?;
        }
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, _prefix: &str, _visitor: &mut Visitor<'_>) -> Result<()> {
        Ok(())
    }
}
