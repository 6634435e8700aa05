//! Max pooling.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c are what the field calls the sides"
)]

use super::card::{self, Recorded};
use super::values::{read, write};
use super::{Layer, Pass, Visitor};
use crate::kernels::max_pool;
use candle_core::{Error, Result, Tensor};

/// The largest value under a sliding window: `[n, h, w, c]` to `[n, h', w', c]`, with `h' = (h + 2 padding -
/// kernel) / stride + 1`.
///
/// The gradient goes to the first of equal values, as in `PyTorch`. A byte a value is kept, not the input.
#[derive(Debug)]
pub struct MaxPool {
    kernel: usize,
    stride: usize,
    padding: usize,
    shape: Option<max_pool::MaxPool>,
    positions: Vec<u8>,
    on_card: Option<Recorded>,
}

impl MaxPool {
    /// `kernel` is at most 15 and `padding` at most half of it, as in `PyTorch`; else layers refuse their input.
    pub const fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            kernel,
            stride,
            padding,
            shape: None,
            positions: Vec::new(),
            on_card: None,
        }
    }

    fn shape(&self, x: &Tensor) -> Result<max_pool::MaxPool> {
        let (n, h, w, c) = x.dims4()?;
        let (kernel, stride, padding) = (self.kernel, self.stride, self.padding);
        let fits = h.min(w) + 2 * padding >= kernel;
        if !fits || stride == 0 || !(1..=15).contains(&kernel) || 2 * padding > kernel {
            let text = format!(
                "a max-pool of kernel {kernel}, stride {stride} and padding {padding} was given {w} x {h} pixels; the kernel goes from 1 to 15, the padding to half of it, and both have to fit"
            );
            return Err(Error::Msg(text));
        }
        Ok(max_pool::MaxPool {
            n,
            h,
            w,
            c,
            kernel,
            stride,
            padding,
        })
    }
}

/// On a card.
impl MaxPool {
    fn forward_on_card(&mut self, x: &Tensor) -> Result<Tensor> {
        let (kernel, stride, padding) = (self.kernel, self.stride, self.padding);
        let out = self.out_on_card(x)?;
        card::record(&mut self.on_card, x, &[], |x, _| {
            card::pool::largest(x, kernel, stride, padding, out)
        })
    }

    fn infer_on_card(&self, x: &Tensor) -> Result<Tensor> {
        let out = self.out_on_card(x)?;
        card::pool::largest(x, self.kernel, self.stride, self.padding, out)
    }

    fn out_on_card(&self, x: &Tensor) -> Result<(usize, usize)> {
        // The shape looks at pictures with their channels last.
        let it = self.shape(&x.permute((0, 2, 3, 1))?)?;
        Ok((it.out_h(), it.out_w()))
    }
}

impl Layer for MaxPool {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(&x);
        }
        let it = self.shape(&x)?;
        let y = pass.take(&[it.n, it.out_h(), it.out_w(), it.c])?;
        self.positions.resize(y.elem_count(), 0);
        {
            let x = read(&x)?;
            write(&y, |y| max_pool::forward(&it, &x, y, &mut self.positions))?;
        }
        pass.give(x);
        self.shape = Some(it);
        Ok(y)
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
            write(&dx, |dx| max_pool::backward(&it, &self.positions, &dy, dx))?;
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
            write(&y, |y| max_pool::forward_only(&it, &x, y))?;
        }
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, _prefix: &str, _visitor: &mut Visitor<'_>) -> Result<()> {
        Ok(())
    }
}
