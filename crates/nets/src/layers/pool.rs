//! Global average pooling.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c are what the field calls the sides"
)]

use super::values::{read, write};
use super::{Layer, Pass, Visitor};
use crate::kernels::pool;
use candle_core::{Result, Tensor};

/// The mean over the pixels: `[n, h, w, c]` to `[n, c]`.
#[derive(Debug, Default)]
pub struct GlobalAveragePool {
    x: Option<Tensor>,
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
        let y = Self::output(&x, pass)?;
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
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
        let y = Self::output(&x, pass)?;
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, _prefix: &str, _visitor: &mut Visitor<'_>) -> Result<()> {
        Ok(())
    }
}
