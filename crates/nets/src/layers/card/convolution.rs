//! Convolutions and the linear layer.

#![expect(
    clippy::many_single_char_names,
    reason = "n, h, w, c, o are what the field calls the sides"
)]

use super::{padded, reached, tap};
use crate::kernels::Padding;
use candle_core::{DType, Result, Tensor};
use std::fmt;
use std::str::FromStr;

/// Numbers that products are computed with; sums, normalisation and weights stay in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    F32,
    /// Brain floating point: 8 bits of mantissa, the range of `f32`.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("precision `{text}` is none of `f32` and `bf16`")),
        }
    }
}

impl Precision {
    const fn of_products(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// A dense convolution.
pub(crate) fn dense(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    padding: Padding,
    precision: Precision,
) -> Result<Tensor> {
    let (x, padding) = match padding {
        Padding::Even(pixels) if stride == 1 => (x.clone(), pixels),
        // Candle pads all sides alike, and finds the gradient of a strided convolution only where it reaches the last
        // row and column.
        _ => (covered(x, weight.dim(2)?, stride, padding)?, 0),
    };
    let kind = precision.of_products();
    let y = x
        .to_dtype(kind)?
        .conv2d(&weight.to_dtype(kind)?, padding, stride, 1, 1)?
        .to_dtype(DType::F32)?;
    with_bias(y, bias)
}

/// Exactly what the kernel sees, with its border.
fn covered(x: &Tensor, kernel: usize, stride: usize, padding: Padding) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let border = |side: usize| {
        let before = padding.before(side, kernel, stride);
        let covered = (padding.output(side, kernel, stride) - 1) * stride + kernel;
        (before, covered.saturating_sub(before + side), covered)
    };
    let ((top, bottom, tall), (left, right, wide)) = (border(h), border(w));
    padded(x, [top, bottom, left, right], 0.0)?
        .narrow(2, 0, tall)?
        .narrow(3, 0, wide)?
        .contiguous()
}

/// A convolution whose every channel has a kernel `[1, k, k]` of its own, as a sum over the taps of the kernel: candle
/// would run each channel alone.
pub(crate) fn depthwise(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: Padding,
) -> Result<Tensor> {
    let (channels, _, kernel, _) = weight.dims4()?;
    let (_, _, h, w) = x.dims4()?;
    let out = (
        padding.output(h, kernel, stride),
        padding.output(w, kernel, stride),
    );
    let before = (
        padding.before(h, kernel, stride),
        padding.before(w, kernel, stride),
    );
    let x = reached(x, before, kernel, stride, out, 0.0)?;
    let mut sum: Option<Tensor> = None;
    for at in 0..kernel * kernel {
        let (y, column) = (at / kernel, at % kernel);
        let factors = weight.narrow(2, y, 1)?.narrow(3, column, 1)?;
        let factors = factors.reshape((1, channels, 1, 1))?;
        let part = tap(&x, (y, column), stride, out)?.broadcast_mul(&factors)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.ok_or_else(|| candle_core::Error::Msg("a kernel has taps".to_owned()))
}

/// The transposed 2x2 convolution with stride 2. Weight: `[inputs, outputs, 2, 2]`.
pub(crate) fn transposed(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    precision: Precision,
) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (_, o, _, _) = weight.dims4()?;
    let kind = precision.of_products();
    let pixels = x
        .permute((0, 2, 3, 1))?
        .contiguous()?
        .reshape((n * h * w, c))?;
    let weight = weight.reshape((c, o * 4))?;
    let y = pixels
        .to_dtype(kind)?
        .matmul(&weight.to_dtype(kind)?)?
        .to_dtype(DType::F32)?
        .reshape((n, h, w, o, 2, 2))?
        .permute((0, 3, 1, 4, 2, 5))?
        .contiguous()?
        .reshape((n, o, h * 2, w * 2))?;
    with_bias(y, Some(bias))
}

/// The linear layer. Weight: `[outputs, inputs]`.
pub(crate) fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    precision: Precision,
) -> Result<Tensor> {
    let kind = precision.of_products();
    let weight = weight.to_dtype(kind)?.t()?;
    let y = x.to_dtype(kind)?.matmul(&weight)?.to_dtype(DType::F32)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

fn with_bias(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
        None => Ok(y),
    }
}
