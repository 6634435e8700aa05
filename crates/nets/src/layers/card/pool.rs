//! Pooling and up-sampling.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c, o are what the field calls the sides"
)]

use super::{reached, tap};
use candle_core::{Result, Tensor};

/// The largest value of each window. Equal ones share the gradient.
pub(crate) fn largest(
    x: &Tensor,
    kernel: usize,
    stride: usize,
    padding: usize,
    out: (usize, usize),
) -> Result<Tensor> {
    let x = reached(
        x,
        (padding, padding),
        kernel,
        stride,
        out,
        f32::NEG_INFINITY,
    )?;
    let mut largest: Option<Tensor> = None;
    for at in 0..kernel * kernel {
        let part = tap(&x, (at / kernel, at % kernel), stride, out)?;
        largest = Some(match largest {
            Some(largest) => largest.maximum(&part)?,
            None => part,
        });
    }
    largest.ok_or_else(|| candle_core::Error::Msg("a window has taps".to_owned()))
}

/// The mean of each window, without padding.
pub(crate) fn average(
    x: &Tensor,
    kernel: usize,
    stride: usize,
    out: (usize, usize),
) -> Result<Tensor> {
    let x = reached(x, (0, 0), kernel, stride, out, 0.0)?;
    let mut sum: Option<Tensor> = None;
    for at in 0..kernel * kernel {
        let part = tap(&x, (at / kernel, at % kernel), stride, out)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    let sum = sum.ok_or_else(|| candle_core::Error::Msg("a window has taps".to_owned()))?;
    sum / (kernel * kernel) as f64
}

/// Every pixel four times.
pub(crate) fn doubled(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    x.reshape((n, c, h, 1, w, 1))?
        .broadcast_as((n, c, h, 2, w, 2))?
        .contiguous()?
        .reshape((n, c, h * 2, w * 2))
}

/// The mean over the pixels: `[n, c, h, w]` to `[n, c]`.
pub(crate) fn mean(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.mean(2)
}
