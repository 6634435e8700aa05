//! Dropout.

use super::values::write;
use super::{Layer, Pass, Visitor};
use crate::rng::{Purpose, Rng};
use candle_core::{Result, Tensor};

/// In training, sets each value to 0 with a probability and scales the rest so that the mean stays; in
/// inference it does nothing. What is dropped follows from the seed, the step and the row.
#[derive(Debug)]
pub struct Dropout {
    probability: f64,
    /// The factor of each value in the last forward pass.
    factors: Vec<f32>,
    /// The same as a tensor, on a card.
    on_card: Option<Tensor>,
}

impl Dropout {
    /// The probability is at least 0 and below 1.
    pub const fn new(probability: f64) -> Self {
        Self {
            probability,
            factors: Vec::new(),
            on_card: None,
        }
    }

    fn scale(&self, x: &Tensor) -> Result<()> {
        write(x, |x| {
            for (x, factor) in x.iter_mut().zip(&self.factors) {
                *x *= factor;
            }
        })
    }
}

impl Layer for Dropout {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if self.probability == 0.0 {
            return Ok(x);
        }
        let (rows, features) = x.dims2()?;
        let keep = (1.0 / (1.0 - self.probability)) as f32;
        self.factors.clear();
        for row in 0..rows {
            let mut rng = Rng::new(pass.seed, Purpose::Dropout, [pass.step, row as u64]);
            let draws = (0..features).map(|_| {
                if rng.chance(self.probability) {
                    0.0
                } else {
                    keep
                }
            });
            self.factors.extend(draws);
        }
        if pass.is_on_card() {
            let factors = Tensor::from_slice(&self.factors, x.shape(), x.device())?;
            let y = (x * &factors)?;
            self.on_card = Some(factors);
            return Ok(y);
        }
        self.scale(&x)?;
        Ok(x)
    }

    fn backward(&mut self, dy: Tensor, _wanted: bool, _pass: &mut Pass) -> Result<Option<Tensor>> {
        if let Some(factors) = self.on_card.take() {
            return Ok(Some((dy * factors)?));
        }
        if self.probability > 0.0 {
            self.scale(&dy)?;
        }
        Ok(Some(dy))
    }

    fn infer(&mut self, x: Tensor, _pass: &mut Pass) -> Result<Tensor> {
        Ok(x)
    }

    fn visit(&mut self, _prefix: &str, _visitor: &mut Visitor<'_>) -> Result<()> {
        Ok(())
    }
}
