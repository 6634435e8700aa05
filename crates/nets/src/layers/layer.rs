//! What a layer is, and what its parts are called.

use super::values::{read, write};
use super::{Buffers, Precision};
use crate::rng::Rng;
use candle_core::{DType, Device, Result, Tensor};
use std::fmt::Debug;

/// A piece of a network.
///
/// A training step calls `forward` and then `backward` once, in reverse order of the layers. `infer` keeps
/// nothing and may be called at any time. The tensors given belong to the layer from then on: it reuses their
/// memory.
pub trait Layer: Debug + Send {
    /// The output in training mode.
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor>;

    /// Sets the gradients of the layer's parameters, and gives the gradient in the input if it is `wanted`.
    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>>;

    /// The output in inference mode.
    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor>;

    /// Shows every named value, in a fixed order. `prefix` ends with a dot, or is empty.
    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()>;
}

/// What a layer shows to who loads, saves or trains it.
pub type Visitor<'a> = dyn FnMut(&str, Slot<'_>) -> Result<()> + 'a;

/// One named value of a layer.
#[derive(Debug)]
pub enum Slot<'a> {
    /// It is learned by gradient.
    Parameter(&'a mut Parameter),
    /// It is measured in training: running mean or variance.
    Statistic(&'a mut Tensor),
}

impl Slot<'_> {
    /// The value, whatever it is.
    pub fn value(&self) -> &Tensor {
        match self {
            Self::Parameter(it) => &it.value,
            Self::Statistic(it) => it,
        }
    }
}

/// A value that is learned, and its gradient after a backward pass.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub value: Tensor,
    pub gradient: Tensor,
    /// Whether weight decay applies: to weights, not to biases and what batch normalisation learns.
    pub decay: bool,
}

impl Parameter {
    /// A weight drawn from a normal distribution of this standard deviation.
    pub(crate) fn normal(
        shape: &[usize],
        deviation: f64,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Self> {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| (rng.normal() * deviation) as f32).collect();
        Self::of(Tensor::from_vec(values, shape, device)?, true)
    }

    /// A vector of equal values without decay.
    pub(crate) fn constant(n: usize, value: f32, device: &Device) -> Result<Self> {
        Self::of(Tensor::full(value, n, device)?.contiguous()?, false)
    }

    fn of(value: Tensor, decay: bool) -> Result<Self> {
        let gradient = Tensor::zeros(value.shape(), DType::F32, value.device())?;
        Ok(Self {
            value,
            gradient,
            decay,
        })
    }
}

/// What passes through all layers of a step.
#[derive(Debug)]
pub struct Pass {
    pub buffers: Buffers,
    pub device: Device,
    /// The seed and the number of the training step: the key of what dropout draws.
    pub seed: u64,
    pub step: u64,
    /// Layers compute with candle's operations, channels first, in place of the processor's kernels.
    on_card: bool,
    precision: Precision,
}

impl Pass {
    pub fn new(device: &Device, seed: u64) -> Self {
        Self {
            buffers: Buffers::default(),
            device: device.clone(),
            seed,
            step: 0,
            on_card: !device.is_cpu(),
            precision: Precision::F32,
        }
    }

    /// Layers compute as they do on a card, wherever they are: on the processor that is slow, and for comparisons.
    #[must_use]
    pub fn as_on_card(self) -> Self {
        Self {
            on_card: true,
            ..self
        }
    }

    /// What products are computed with on a card.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub(crate) const fn is_on_card(&self) -> bool {
        self.on_card
    }

    pub(crate) const fn precision(&self) -> Precision {
        self.precision
    }

    pub(crate) fn take(&mut self, shape: &[usize]) -> Result<Tensor> {
        self.buffers.take(shape, &self.device)
    }

    pub(crate) fn give(&mut self, tensor: Tensor) {
        // Candle's operations write to memory of their own.
        if !self.on_card {
            self.buffers.give(tensor);
        }
    }

    /// A tensor of the same values.
    pub(crate) fn copy(&mut self, tensor: &Tensor) -> Result<Tensor> {
        let copy = self.take(tensor.dims())?;
        let values = read(tensor)?;
        write(&copy, |it| it.copy_from_slice(&values))?;
        Ok(copy)
    }

    /// See [`Buffers::hold`].
    pub(crate) fn hold(&mut self, tensor: &Tensor) {
        self.buffers.hold(tensor);
    }

    /// See [`Buffers::release`].
    pub(crate) fn release(&mut self, tensor: &Tensor) -> bool {
        self.buffers.release(tensor)
    }
}

/// What `forward` kept for `backward`.
pub(crate) fn kept<T>(it: &mut Option<T>) -> Result<T> {
    it.take()
        .ok_or_else(|| candle_core::Error::Msg("backward comes after forward".to_owned()))
}
