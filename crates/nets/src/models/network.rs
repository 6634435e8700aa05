//! A classifier network: layers that give features, dropout, and a linear layer that gives classes.

use crate::layers::{Chain, Dropout, Layer, Linear, Pass, Visitor};
use candle_core::{Result, Tensor};

/// A chain of layers with two results: features, and classes made of them.
#[derive(Debug)]
pub struct Network {
    body: Chain,
    dropout: Dropout,
    classes: Linear,
}

/// What a network says about a batch.
#[derive(Debug)]
pub struct Output {
    /// `[n, features]`
    pub features: Tensor,
    /// `[n, classes]`
    pub logits: Tensor,
}

impl Network {
    pub(super) fn new(body: Chain, dropout: f64, classes: Linear) -> Self {
        Self {
            body,
            dropout: Dropout::new(dropout),
            classes,
        }
    }

    /// Logits `[n, classes]` of pictures `[n, side, side, 3]` in training mode.
    pub fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let x = as_computed(x, pass)?;
        let x = self.body.forward(x, pass)?;
        let x = self.dropout.forward(x, pass)?;
        self.classes.forward(x, pass)
    }

    /// Sets the gradient of every parameter, from the loss's gradient in the logits.
    pub fn backward(&mut self, dy: Tensor, pass: &mut Pass) -> Result<()> {
        let mut dy = self.classes.backward(dy, true, pass)?;
        if let Some(it) = dy {
            dy = self.dropout.backward(it, true, pass)?;
        }
        if let Some(it) = dy {
            self.body.backward(it, false, pass)?;
        }
        Ok(())
    }

    /// Features and logits in inference mode. Give both back to `pass` after reading them.
    pub fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Output> {
        let x = as_computed(x, pass)?;
        let x = self.body.infer(x, pass)?;
        // The class layer reuses the memory of what it is given.
        let features = x.copy()?;
        let logits = self.classes.infer(x, pass)?;
        Ok(Output { features, logits })
    }

    /// Shows every named value, in a fixed order.
    pub fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<()> {
        self.body.visit("", visitor)?;
        self.classes.visit("classes.", visitor)
    }
}

/// Pictures as layers compute them: channels first on a card.
fn as_computed(x: Tensor, pass: &Pass) -> Result<Tensor> {
    if pass.is_on_card() && x.rank() == 4 {
        return x.permute((0, 3, 1, 2))?.contiguous();
    }
    Ok(x)
}
