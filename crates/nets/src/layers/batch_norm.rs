//! Batch normalisation, with an optional rectifier behind it.

use super::card::norm as card;
use super::values::{read, write};
use super::{Layer, Parameter, Pass, Slot, Visitor, kept};
use crate::kernels::Activation;
use crate::kernels::norm::{self, Normalised};
use candle_core::{Device, Result, Tensor};

/// Added to a variance before its root is taken; `PyTorch`'s default.
const EPSILON: f64 = 1e-5;
/// How much of the running statistics one batch replaces; `PyTorch`'s default.
const MOMENTUM: f64 = 0.1;

/// Normalises each channel over all pixels of a batch, then scales and shifts it, and does what comes after.
///
/// In inference the running mean and variance take the place of the batch's.
#[derive(Debug)]
pub struct BatchNorm {
    gamma: Parameter,
    beta: Parameter,
    mean: Tensor,
    variance: Tensor,
    after: Activation,
    epsilon: f64,
    x: Option<Tensor>,
    normalised: Normalised,
    on_card: Option<card::Normalised>,
}

impl BatchNorm {
    /// Scale 1, shift 0, running mean 0 and variance 1.
    pub fn new(channels: usize, after: Activation, device: &Device) -> Result<Self> {
        Ok(Self {
            gamma: Parameter::constant(channels, 1.0, device)?,
            beta: Parameter::constant(channels, 0.0, device)?,
            mean: Parameter::constant(channels, 0.0, device)?.value,
            variance: Parameter::constant(channels, 1.0, device)?.value,
            after,
            epsilon: EPSILON,
            x: None,
            normalised: Normalised::default(),
            on_card: None,
        })
    }

    /// With another number added to a variance before its root is taken (1e-5 unless told).
    #[must_use]
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    pub(super) const fn after(&self) -> Activation {
        self.after
    }

    /// Factor and summand of each channel in inference.
    pub(super) fn folded(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let mean: Vec<f64> = read(&self.mean)?.iter().map(|it| f64::from(*it)).collect();
        let variance: Vec<f64> = read(&self.variance)?
            .iter()
            .map(|it| f64::from(*it))
            .collect();
        let it = self.normalise(&mean, &variance)?;
        Ok((it.scale, it.shift))
    }

    fn normalise(&self, mean: &[f64], variance: &[f64]) -> Result<Normalised> {
        let (gamma, beta) = (read(&self.gamma.value)?, read(&self.beta.value)?);
        let inverse: Vec<f64> = variance
            .iter()
            .map(|it| 1.0 / (it + self.epsilon).sqrt())
            .collect();
        let scale = |at: usize| f64::from(gamma[at]) * inverse[at];
        let channels = 0..mean.len();
        Ok(Normalised {
            scale: channels.clone().map(|at| scale(at) as f32).collect(),
            shift: channels
                .map(|at| (f64::from(beta[at]) - mean[at] * scale(at)) as f32)
                .collect(),
            mean: mean.iter().map(|it| *it as f32).collect(),
            inverse: inverse.iter().map(|it| *it as f32).collect(),
            after: self.after,
        })
    }

    /// Moves the running statistics towards those of a batch of `n` values a channel.
    fn track(&self, n: usize, mean: &[f64], variance: &[f64]) -> Result<()> {
        // The running variance is that of the population: divided by n - 1.
        let unbiased = n as f64 / (n as f64 - 1.0).max(1.0);
        let step = |running: &mut [f32], batch: &[f64], factor: f64| {
            for (running, batch) in running.iter_mut().zip(batch) {
                let old = f64::from(*running);
                *running = (old + MOMENTUM * (batch * factor - old)) as f32;
            }
        };
        write(&self.mean, |it| step(it, mean, 1.0))?;
        write(&self.variance, |it| step(it, variance, unbiased))
    }
}

/// On a card.
impl BatchNorm {
    fn forward_on_card(&mut self, x: &Tensor) -> Result<Tensor> {
        let (gamma, beta) = (&self.gamma.value, &self.beta.value);
        let (y, normalised, batch) = card::forward(x, gamma, beta, self.epsilon, self.after)?;
        self.on_card = Some(normalised);
        let n = (x.elem_count() / self.mean.elem_count()) as f64;
        let unbiased = n / (n - 1.0).max(1.0);
        // Nothing is fetched from the card here: the step goes on while it computes.
        self.mean = step(&self.mean, &batch.mean)?;
        self.variance = step(&self.variance, &(batch.variance * unbiased)?)?;
        Ok(y)
    }

    fn backward_on_card(&mut self, dy: &Tensor) -> Result<Option<Tensor>> {
        let normalised = kept(&mut self.on_card)?;
        let [dx, gamma, beta] = normalised.backward(dy)?;
        self.gamma.gradient = gamma;
        self.beta.gradient = beta;
        Ok(Some(dx))
    }

    fn infer_on_card(&self, x: &Tensor) -> Result<Tensor> {
        let values = [
            &self.gamma.value,
            &self.beta.value,
            &self.mean,
            &self.variance,
        ];
        card::infer(x, values, self.epsilon, self.after)
    }
}

/// Running statistics moved towards those of a batch.
fn step(running: &Tensor, batch: &Tensor) -> Result<Tensor> {
    (running * (1.0 - MOMENTUM))? + (batch * MOMENTUM)?
}

impl Layer for BatchNorm {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(&x);
        }
        let y = pass.take(x.dims())?;
        {
            let x = read(&x)?;
            let channels = self.mean.elem_count();
            let (mean, variance) = norm::statistics(&x, channels);
            self.track(x.len() / channels, &mean, &variance)?;
            self.normalised = self.normalise(&mean, &variance)?;
            let it = &self.normalised;
            write(&y, |y| norm::affine(&x, &it.scale, &it.shift, it.after, y))?;
        }
        self.x = Some(x);
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, _wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return self.backward_on_card(&dy);
        }
        let x = kept(&mut self.x)?;
        let (gamma, beta) = {
            let x = read(&x)?;
            write(&dy, |dy| norm::backward(&self.normalised, &x, dy))?
        };
        write(&self.gamma.gradient, |it| it.copy_from_slice(&gamma))?;
        write(&self.beta.gradient, |it| it.copy_from_slice(&beta))?;
        pass.give(x);
        Ok(Some(dy))
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.infer_on_card(&x);
        }
        let (scale, shift) = self.folded()?;
        let y = pass.take(x.dims())?;
        {
            let x = read(&x)?;
            write(&y, |y| norm::affine(&x, &scale, &shift, self.after, y))?;
        }
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        visitor(&format!("{prefix}weight"), Slot::Parameter(&mut self.gamma))?;
        visitor(&format!("{prefix}bias"), Slot::Parameter(&mut self.beta))?;
        visitor(
            &format!("{prefix}running_mean"),
            Slot::Statistic(&mut self.mean),
        )?;
        visitor(
            &format!("{prefix}running_var"),
            Slot::Statistic(&mut self.variance),
        )
    }
}
