//! Two branches that are added.

use super::card;
use super::values::{read, write};
use super::{Activation, Chain, Layer, Pass, Visitor};
use crate::kernels::residual;
use candle_core::{Result, Tensor};

/// `after(body(x) + shortcut(x))`, where the shortcut is `x` itself unless told (He et al. 2015).
///
/// In a file the body's names have no prefix of their own, those of the shortcut begin with `shortcut.`.
#[derive(Debug)]
pub struct Residual {
    body: Chain,
    shortcut: Option<Chain>,
    after: Activation,
    /// Where the gradient passes, of the last forward pass.
    passes: Vec<u8>,
    /// The same on a card.
    on_card: Option<Tensor>,
}

const SHORTCUT: &str = "shortcut.";

impl Residual {
    pub const fn new(body: Chain, shortcut: Option<Chain>, after: Activation) -> Self {
        Self {
            body,
            shortcut,
            after,
            passes: Vec::new(),
            on_card: None,
        }
    }
}

/// On a card, where no layer writes over what it was given.
impl Residual {
    fn forward_on_card(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let other = match &mut self.shortcut {
            Some(shortcut) => shortcut.forward(x.clone(), pass)?,
            None => x.clone(),
        };
        let sum = (self.body.forward(x, pass)? + other)?;
        self.on_card = card::passes(&sum, self.after)?;
        card::activation(&sum, self.after)
    }

    fn backward_on_card(
        &mut self,
        dy: Tensor,
        wanted: bool,
        pass: &mut Pass,
    ) -> Result<Option<Tensor>> {
        let dy = match self.on_card.take() {
            Some(passes) => (dy * passes)?,
            None => dy,
        };
        let dx = self.body.backward(dy.clone(), wanted, pass)?;
        let other = match &mut self.shortcut {
            Some(shortcut) => shortcut.backward(dy, wanted, pass)?,
            None => Some(dy),
        };
        match (dx, other) {
            (Some(dx), Some(other)) => Ok(Some((dx + other)?)),
            (dx, _) => Ok(dx),
        }
    }

    fn infer_on_card(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let other = match &mut self.shortcut {
            Some(shortcut) => shortcut.infer(x.clone(), pass)?,
            None => x.clone(),
        };
        let sum = (self.body.infer(x, pass)? + other)?;
        card::activation(&sum, self.after)
    }
}

impl Layer for Residual {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(x, pass);
        }
        // Both branches keep the input until the way back, and write over it there. Where the shortcut is the input
        // itself, it is read here for the last time.
        let (y, other) = if let Some(shortcut) = &mut self.shortcut {
            let copy = pass.copy(&x)?;
            (self.body.forward(x, pass)?, shortcut.forward(copy, pass)?)
        } else {
            pass.hold(&x);
            let y = self.body.forward(x.clone(), pass)?;
            pass.release(&x);
            (y, x)
        };
        if self.after != Activation::None {
            self.passes.resize(y.elem_count(), 0);
        }
        let values = read(&other)?;
        write(&y, |y| {
            residual::add(y, &values, self.after, &mut self.passes);
        })?;
        drop(values);
        if self.shortcut.is_some() {
            pass.give(other);
        }
        Ok(y)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return self.backward_on_card(dy, wanted, pass);
        }
        let other = pass.take(dy.dims())?;
        write(&dy, |dy| {
            write(&other, |other| {
                residual::backward(dy, self.after, &self.passes, other);
            })
        })??;
        let dx = self.body.backward(dy, wanted, pass)?;
        let other = match &mut self.shortcut {
            Some(shortcut) => shortcut.backward(other, wanted, pass)?,
            None => Some(other),
        };
        let Some(other) = other else { return Ok(dx) };
        if let Some(dx) = &dx {
            let values = read(&other)?;
            write(dx, |dx| residual::add_only(dx, &values, Activation::None))?;
        }
        pass.give(other);
        Ok(dx)
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.infer_on_card(x, pass);
        }
        pass.hold(&x);
        let y = self.body.infer(x.clone(), pass)?;
        pass.release(&x);
        let other = match &mut self.shortcut {
            Some(shortcut) => shortcut.infer(x, pass)?,
            None => x,
        };
        {
            let values = read(&other)?;
            write(&y, |y| residual::add_only(y, &values, self.after))?;
        }
        pass.give(other);
        Ok(y)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        self.body.visit(prefix, visitor)?;
        match &mut self.shortcut {
            Some(shortcut) => shortcut.visit(&format!("{prefix}{SHORTCUT}"), visitor),
            None => Ok(()),
        }
    }
}
