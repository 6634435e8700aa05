//! A classifier network: layers that give features, dropout, and a linear layer that gives classes.

use crate::layers::{Block, Chain, Dropout, Layer, Linear, Pass, Visitor};
use candle_core::{Result, Tensor};

/// A body, which turns pictures into a vector, and a head with two results: features, and classes made of them.
#[derive(Debug)]
pub struct Network {
    body: Chain,
    features: Block,
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

/// Whether a value belongs to the head, which is made anew for other classes.
pub(crate) fn is_head(name: &str) -> bool {
    name.starts_with(FEATURES) || name.starts_with(CLASSES)
}

const FEATURES: &str = "features.";
const CLASSES: &str = "classes.";

impl Network {
    pub(super) fn new(body: Chain, features: Block, dropout: f64, classes: Linear) -> Self {
        Self {
            body,
            features,
            dropout: Dropout::new(dropout),
            classes,
        }
    }

    /// Logits `[n, classes]` of pictures `[n, side, side, 3]` in training mode.
    pub fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let x = as_computed(x, pass)?;
        let x = self.body.forward(x, pass)?;
        self.head(x, pass)
    }

    /// The same while the body rests: it answers as in inference, and keeps nothing.
    pub fn forward_head(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let x = self.pooled(x, pass)?;
        self.head(x, pass)
    }

    fn head(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let x = self.features.forward(x, pass)?;
        let x = self.dropout.forward(x, pass)?;
        self.classes.forward(x, pass)
    }

    /// Sets the gradient of every parameter, from the loss's gradient in the logits.
    pub fn backward(&mut self, dy: Tensor, pass: &mut Pass) -> Result<()> {
        if let Some(dy) = self.backward_through_head(dy, true, pass)? {
            self.body.backward(dy, false, pass)?;
        }
        Ok(())
    }

    /// The same for the head alone, after [`Self::forward_head`].
    pub fn backward_head(&mut self, dy: Tensor, pass: &mut Pass) -> Result<()> {
        self.backward_through_head(dy, false, pass).map(drop)
    }

    fn backward_through_head(
        &mut self,
        dy: Tensor,
        wanted: bool,
        pass: &mut Pass,
    ) -> Result<Option<Tensor>> {
        let mut dy = self.classes.backward(dy, true, pass)?;
        if let Some(it) = dy {
            dy = self.dropout.backward(it, true, pass)?;
        }
        match dy {
            Some(dy) => self.features.backward(dy, wanted, pass),
            None => Ok(None),
        }
    }

    /// What the body makes of pictures in inference mode, `[n, channels]`: what a foreign head was trained on.
    pub fn pooled(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let x = as_computed(x, pass)?;
        self.body.infer(x, pass)
    }

    /// Features and logits in inference mode. Give both back to `pass` after reading them.
    pub fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Output> {
        let x = as_computed(x, pass)?;
        let x = self.body.infer(x, pass)?;
        let x = self.features.infer(x, pass)?;
        // The class layer reuses the memory of what it is given.
        let features = x.copy()?;
        let logits = self.classes.infer(x, pass)?;
        Ok(Output { features, logits })
    }

    /// Shows every named value, in a fixed order.
    pub fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<()> {
        self.body.visit("", visitor)?;
        self.features.visit(FEATURES, visitor)?;
        self.classes.visit(CLASSES, visitor)
    }
}

/// Pictures as layers compute them: channels first on a card.
fn as_computed(x: Tensor, pass: &Pass) -> Result<Tensor> {
    if pass.is_on_card() && x.rank() == 4 {
        return x.permute((0, 3, 1, 2))?.contiguous();
    }
    Ok(x)
}

/// As a layer, a network is its logits.
impl Layer for Network {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        Self::forward(self, x, pass)
    }

    fn backward(&mut self, dy: Tensor, _wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        Self::backward(self, dy, pass)?;
        Ok(None)
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let output = Self::infer(self, x, pass)?;
        pass.give(output.features);
        Ok(output.logits)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        Self::visit(self, &mut |name, slot| {
            visitor(&format!("{prefix}{name}"), slot)
        })
    }
}
