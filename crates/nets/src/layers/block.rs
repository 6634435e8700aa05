//! What most networks are built of: a linear map and the batch normalisation behind it.

use super::{BatchNorm, Convolution, Depthwise, Layer, Linear, Pass, Visitor};
use crate::kernels::Activation;
use crate::kernels::convolution::Weights;
use candle_core::{Result, Tensor};

/// A convolution or linear layer, batch normalisation, and what the normalisation has behind it.
///
/// In inference the normalisation is folded into the weights, so a block is one operation. In a file the map
/// is `0` and the normalisation `1`, as in `PyTorch`'s `Sequential`.
#[derive(Debug)]
pub struct Block {
    map: Map,
    norm: BatchNorm,
    folded: Option<Folded>,
}

/// The layers that a normalisation can be folded into.
#[derive(Debug)]
pub enum Map {
    Convolution(Convolution),
    Depthwise(Depthwise),
    Linear(Linear),
}

#[derive(Debug)]
struct Folded {
    weights: Weights,
    bias: Vec<f32>,
}

impl From<Convolution> for Map {
    fn from(it: Convolution) -> Self {
        Self::Convolution(it)
    }
}

impl From<Depthwise> for Map {
    fn from(it: Depthwise) -> Self {
        Self::Depthwise(it)
    }
}

impl From<Linear> for Map {
    fn from(it: Linear) -> Self {
        Self::Linear(it)
    }
}

impl Map {
    fn layer(&mut self) -> &mut dyn Layer {
        match self {
            Self::Convolution(it) => it,
            Self::Depthwise(it) => it,
            Self::Linear(it) => it,
        }
    }

    /// Weights for this input, each output times its factor.
    fn ready(&self, x: &Tensor, factors: &[f32]) -> Result<Weights> {
        match self {
            Self::Convolution(it) => it.ready(x, Some(factors)),
            Self::Depthwise(it) => it.folded(factors).map(Weights::Plain),
            Self::Linear(it) => it.ready(x, factors),
        }
    }

    fn fit(&self, weights: &Weights, x: &Tensor) -> Result<bool> {
        match self {
            Self::Convolution(it) => it.fit(weights, x),
            Self::Depthwise(_) | Self::Linear(_) => Ok(true),
        }
    }

    fn apply(&self, x: &Tensor, it: &Folded, after: Activation, pass: &mut Pass) -> Result<Tensor> {
        let bias = Some(it.bias.as_slice());
        match (self, &it.weights) {
            (Self::Convolution(map), weights) => map.apply(x, weights, bias, after, pass),
            (Self::Depthwise(map), Weights::Plain(it)) => map.apply(x, it, bias, after, pass),
            (Self::Linear(map), weights) => map.apply(x, weights, bias, after, pass),
            (Self::Depthwise(_), Weights::Winograd(_)) => {
                unreachable!("`ready` made plain weights")
            }
        }
    }
}

impl Block {
    pub fn new(map: impl Into<Map>, norm: BatchNorm) -> Self {
        Self {
            map: map.into(),
            norm,
            folded: None,
        }
    }
}

impl Layer for Block {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        // The step that follows changes weights and statistics.
        self.folded = None;
        let x = self.map.layer().forward(x, pass)?;
        self.norm.forward(x, pass)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        match self.norm.backward(dy, true, pass)? {
            Some(dy) => self.map.layer().backward(dy, wanted, pass),
            None => Ok(None),
        }
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            let x = self.map.layer().infer(x, pass)?;
            return self.norm.infer(x, pass);
        }
        let folded = match self.folded.take() {
            Some(it) if self.map.fit(&it.weights, &x)? => it,
            _ => {
                let (factors, bias) = self.norm.folded()?;
                let weights = self.map.ready(&x, &factors)?;
                Folded { weights, bias }
            }
        };
        let y = self.map.apply(&x, &folded, self.norm.after(), pass)?;
        self.folded = Some(folded);
        pass.give(x);
        Ok(y)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        // A visitor may change what it sees.
        self.folded = None;
        self.map.layer().visit(&format!("{prefix}0."), visitor)?;
        self.norm.visit(&format!("{prefix}1."), visitor)
    }
}
