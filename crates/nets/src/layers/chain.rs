//! Layers one after the other.

use super::{Layer, Pass, Visitor};
use candle_core::{Result, Tensor};

/// A chain of layers, which is a layer itself. Each has a prefix for the names of its values.
#[derive(Debug, Default)]
pub struct Chain {
    layers: Vec<(String, Box<dyn Layer>)>,
}

impl Chain {
    /// Appends a layer. `prefix` ends with a dot, or is empty.
    pub fn push(&mut self, prefix: impl Into<String>, layer: impl Layer + 'static) {
        self.layers.push((prefix.into(), Box::new(layer)));
    }

    /// Appends all layers of another chain.
    pub fn append(&mut self, other: Self) {
        self.layers.extend(other.layers);
    }

    /// The chain with one more layer.
    #[must_use]
    pub fn then(mut self, prefix: impl Into<String>, layer: impl Layer + 'static) -> Self {
        self.push(prefix, layer);
        self
    }
}

impl Layer for Chain {
    fn forward(&mut self, mut x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        for (_, layer) in &mut self.layers {
            x = layer.forward(x, pass)?;
        }
        Ok(x)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        let mut dy = Some(dy);
        for (at, (_, layer)) in self.layers.iter_mut().enumerate().rev() {
            let Some(it) = dy else { break };
            dy = layer.backward(it, wanted || at > 0, pass)?;
        }
        Ok(dy)
    }

    fn infer(&mut self, mut x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        for (_, layer) in &mut self.layers {
            x = layer.infer(x, pass)?;
        }
        Ok(x)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        for (name, layer) in &mut self.layers {
            layer.visit(&format!("{prefix}{name}"), visitor)?;
        }
        Ok(())
    }
}
