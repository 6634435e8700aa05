//! The layers' functions in candle's own operations: what computes on a graphics card.
//!
//! Values are channels first here, as candle's convolutions want them: `[images, channels, height, width]`. A layer
//! records its own function ([`record`]) and asks candle for the gradient of that alone, so its graph holds one layer
//! and is gone after its step.
//!
//! Candle 0.11's wrong gradients are never reached: max-pool, nearest up-sampling, average pool on odd sides, strided
//! convolution of pictures that are not square, the rectifier at 0. What stands here says the same with operations
//! whose gradients are right. On the processor all this gives the numbers of the kernels, slowly: so it is tested.

pub(crate) mod convolution;
pub(crate) mod norm;
pub(crate) mod pool;

use super::Parameter;
use crate::kernels::Activation;
use candle_core::{DType, Result, Tensor, Var};

/// What a layer's way back needs.
#[derive(Debug)]
pub(crate) struct Recorded {
    x: Var,
    parameters: Vec<Var>,
    y: Tensor,
}

/// The output of `function` for an input and parameters, and in `recorded` its way back.
pub(crate) fn record(
    recorded: &mut Option<Recorded>,
    x: &Tensor,
    parameters: &[&Tensor],
    function: impl FnOnce(&Tensor, &[Var]) -> Result<Tensor>,
) -> Result<Tensor> {
    let x = Var::from_tensor(x)?;
    let parameters = parameters.iter().map(|it| Var::from_tensor(it));
    let parameters = parameters.collect::<Result<Vec<_>>>()?;
    let y = function(x.as_tensor(), &parameters)?;
    let out = y.detach();
    *recorded = Some(Recorded { x, parameters, y });
    Ok(out)
}

impl Recorded {
    /// Sets the gradients of the parameters, in the order in which they were recorded, and gives that of the input.
    pub(crate) fn backward(self, dy: &Tensor, parameters: &mut [&mut Parameter]) -> Result<Tensor> {
        let gradients = (&self.y * dy)?.sum_all()?.backward()?;
        let of = |it: &Var| match gradients.get(it) {
            Some(gradient) => Ok(gradient.contiguous()?.detach()),
            None => it.zeros_like(),
        };
        for (parameter, var) in parameters.iter_mut().zip(&self.parameters) {
            parameter.gradient = of(var)?;
        }
        of(&self.x)
    }
}

/// The value held between the bounds of the activation. Its gradient passes strictly between them.
pub(crate) fn activation(x: &Tensor, after: Activation) -> Result<Tensor> {
    match passes(x, after)? {
        None => Ok(x.clone()),
        Some(passes) => {
            let [_, high] = after.bounds();
            let y = (x * passes)?;
            if high.is_finite() {
                let above = x.detach().ge(f64::from(high))?.to_dtype(x.dtype())?;
                y + (above * f64::from(high))?
            } else {
                Ok(y)
            }
        }
    }
}

/// 1 where the gradient passes an activation that is given `x`, else 0. `None`: it passes everywhere.
pub(crate) fn passes(x: &Tensor, after: Activation) -> Result<Option<Tensor>> {
    let [low, high] = after.bounds();
    if after == Activation::None {
        return Ok(None);
    }
    let x = x.detach();
    let mut passes = x.gt(f64::from(low))?.to_dtype(DType::F32)?;
    if high.is_finite() {
        passes = (passes * x.lt(f64::from(high))?.to_dtype(DType::F32)?)?;
    }
    Ok(Some(passes))
}

/// `x` with rows and columns of `value` around: [top, bottom, left, right].
pub(crate) fn padded(
    x: &Tensor,
    [top, bottom, left, right]: [usize; 4],
    value: f32,
) -> Result<Tensor> {
    let side = |x: Tensor, dim: usize, before: usize, after: usize| {
        let strip = |count: usize| {
            let mut shape = x.dims().to_vec();
            shape[dim] = count;
            Tensor::full(value, shape, x.device())
        };
        match (before, after) {
            (0, 0) => Ok(x),
            (0, _) => Tensor::cat(&[&x, &strip(after)?], dim),
            (_, 0) => Tensor::cat(&[&strip(before)?, &x], dim),
            _ => Tensor::cat(&[&strip(before)?, &x, &strip(after)?], dim),
        }
    };
    let x = side(x.clone(), 2, top, bottom)?;
    side(x, 3, left, right)
}

/// A picture padded as far as [`tap`] reaches: `before` is the border (above, left), the rest lies behind.
pub(crate) fn reached(
    x: &Tensor,
    before: (usize, usize),
    kernel: usize,
    stride: usize,
    out: (usize, usize),
    value: f32,
) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    // A tap is cut out with all that lies between its places.
    let behind = |side: usize, before: usize, out: usize| {
        (kernel - 1 + stride * out).saturating_sub(before + side)
    };
    let (bottom, right) = (behind(h, before.0, out.0), behind(w, before.1, out.1));
    padded(x, [before.0, bottom, before.1, right], value)
}

/// `count` entries of a dimension from `first` on, `stride` apart. There have to be `count * stride` from `first` on.
pub(crate) fn every(
    x: &Tensor,
    dim: usize,
    first: usize,
    stride: usize,
    count: usize,
) -> Result<Tensor> {
    let x = x.narrow(dim, first, count * stride)?;
    if stride == 1 {
        return Ok(x);
    }
    let mut shape = x.dims().to_vec();
    shape[dim] = count;
    shape.insert(dim + 1, stride);
    x.contiguous()?
        .reshape(shape)?
        .narrow(dim + 1, 0, 1)?
        .squeeze(dim + 1)
}

/// What a window's tap (y, x) sees at each of `out` = (height, width) places, `stride` apart, of a padded picture.
pub(crate) fn tap(
    x: &Tensor,
    at: (usize, usize),
    stride: usize,
    out: (usize, usize),
) -> Result<Tensor> {
    let rows = every(x, 2, at.0, stride, out.0)?;
    every(&rows, 3, at.1, stride, out.1)
}
