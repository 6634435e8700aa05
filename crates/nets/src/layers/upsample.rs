//! Nearest upsampling.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c, o are what the field calls the sides"
)]

use super::card::{self, Recorded};
use super::values::{read, write};
use super::{Layer, Pass, Visitor};
use crate::kernels::pool;
use candle_core::{Result, Tensor};

/// Every pixel becomes a square of four: `[n, h, w, c]` to `[n, 2 h, 2 w, c]`.
#[derive(Debug, Default)]
pub struct Upsample {
    on_card: Option<Recorded>,
}

impl Layer for Upsample {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return card::record(&mut self.on_card, &x, &[], |x, _| card::pool::doubled(x));
        }
        self.infer(x, pass)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return super::kept(&mut self.on_card)?
                .backward(&dy, &mut [])
                .map(Some);
        }
        let mut dx = None;
        if wanted {
            let (n, h, w, c) = dy.dims4()?;
            let it = pass.take(&[n, h / 2, w / 2, c])?;
            let values = read(&dy)?;
            write(&it, |dx| pool::upsample_backward(&values, w / 2, c, dx))?;
            dx = Some(it);
        }
        pass.give(dy);
        Ok(dx)
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return card::pool::doubled(&x);
        }
        let (n, h, w, c) = x.dims4()?;
        let y = pass.take(&[n, 2 * h, 2 * w, c])?;
        {
            let x = read(&x)?;
            write(&y, |y| pool::upsample(&x, w, c, y))?;
        }
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, _prefix: &str, _visitor: &mut Visitor<'_>) -> Result<()> {
        Ok(())
    }
}
