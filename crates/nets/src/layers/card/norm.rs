//! Batch normalisation, with a way back of its own: candle's graph would hold a dozen tensors of the input's size.

use super::{activation, passes};
use crate::kernels::Activation;
use candle_core::{Result, Tensor};

/// What the way back needs.
#[derive(Debug)]
pub(crate) struct Normalised {
    /// The input with mean 0 and variance 1.
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    inverse: Tensor,
    after: Activation,
}

/// Statistics of a batch, `[channels]` each. The variance is divided by n.
pub(crate) struct Statistics {
    pub mean: Tensor,
    pub variance: Tensor,
}

/// `[channels]` as something that spreads over pictures or rows.
fn spread(it: &Tensor, like: &Tensor) -> Result<Tensor> {
    if like.rank() == 4 {
        it.reshape((1, (), 1, 1))
    } else {
        it.reshape((1, ()))
    }
}

fn mean_of(x: &Tensor) -> Result<Tensor> {
    let n = (x.elem_count() / x.dim(1)?) as f64;
    sum_of(x)? / n
}

fn sum_of(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 4 {
        x.flatten_from(2)?.sum(2)?.sum(0)
    } else {
        x.sum(0)
    }
}

pub(crate) fn forward(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
    after: Activation,
) -> Result<(Tensor, Normalised, Statistics)> {
    let mean = mean_of(x)?;
    let centred = x.broadcast_sub(&spread(&mean, x)?)?;
    let variance = mean_of(&centred.sqr()?)?;
    let inverse = (&variance + epsilon)?.sqrt()?.recip()?;
    let normalised = centred.broadcast_mul(&spread(&inverse, x)?)?;
    let y = scaled(&normalised, gamma, beta)?;
    let kept = Normalised {
        x: normalised,
        gamma: gamma.clone(),
        beta: beta.clone(),
        inverse,
        after,
    };
    Ok((activation(&y, after)?, kept, Statistics { mean, variance }))
}

fn scaled(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
    x.broadcast_mul(&spread(gamma, x)?)?
        .broadcast_add(&spread(beta, x)?)
}

impl Normalised {
    /// Gradients in the input, gamma and beta.
    pub(crate) fn backward(self, dy: &Tensor) -> Result<[Tensor; 3]> {
        let dy = match passes(&scaled(&self.x, &self.gamma, &self.beta)?, self.after)? {
            Some(passes) => (dy * passes)?,
            None => dy.clone(),
        };
        let n = (dy.elem_count() / dy.dim(1)?) as f64;
        let beta = sum_of(&dy)?;
        let gamma = sum_of(&(&dy * &self.x)?)?;
        let of_x = self.x.broadcast_mul(&spread(&(&gamma / n)?, &dy)?)?;
        let centred = dy.broadcast_sub(&spread(&(&beta / n)?, &dy)?)?;
        let factor = (&self.gamma * &self.inverse)?;
        let dx = (centred - of_x)?.broadcast_mul(&spread(&factor, &dy)?)?;
        Ok([dx, gamma, beta])
    }
}

/// With running statistics in place of the batch's.
pub(crate) fn infer(
    x: &Tensor,
    [gamma, beta, mean, variance]: [&Tensor; 4],
    epsilon: f64,
    after: Activation,
) -> Result<Tensor> {
    let scale = (gamma / (variance + epsilon)?.sqrt()?)?;
    let shift = (beta - (mean * &scale)?)?;
    activation(&scaled(x, &scale, &shift)?, after)
}
