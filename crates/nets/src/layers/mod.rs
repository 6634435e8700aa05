//! The layers that networks are written in.
//!
//! Values are candle tensors, channels last: `[images, height, width, channels]`, or `[images, features]`
//! after pooling. Each layer owns its backward pass: it keeps what the backward pass needs, and candle's
//! gradient graph is not used (see `design.md`). Weights have the shapes and order of `PyTorch`.

mod batch_norm;
mod block;
pub(crate) mod card;
mod chain;
mod convolution;
mod dropout;
mod layer;
mod linear;
mod max_pool;
mod pool;
mod residual;
mod skip;
mod transposed;
mod upsample;
pub(crate) mod values;

pub use crate::kernels::{Activation, Padding};
pub use batch_norm::BatchNorm;
pub use block::Block;
pub use card::convolution::Precision;
pub use chain::Chain;
pub use convolution::{Convolution, Depthwise};
pub use dropout::Dropout;
pub(crate) use layer::kept;
pub use layer::{Layer, Parameter, Pass, Slot, Visitor};
pub use linear::Linear;
pub use max_pool::MaxPool;
pub use pool::{AveragePool, GlobalAveragePool};
pub use residual::Residual;
pub use skip::Skip;
pub use transposed::TransposedConvolution;
pub use upsample::Upsample;
pub use values::Buffers;
