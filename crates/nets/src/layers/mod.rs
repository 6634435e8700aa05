//! The layers that networks are written in.
//!
//! Values are candle tensors, channels last: `[images, height, width, channels]`, or `[images, features]`
//! after pooling. Each layer owns its backward pass: it keeps what the backward pass needs, and candle's
//! gradient graph is not used (see `design.md`). Weights have the shapes and order of `PyTorch`.

mod batch_norm;
mod block;
mod chain;
mod convolution;
mod dropout;
mod layer;
mod linear;
mod pool;
mod residual;
pub(crate) mod values;

pub use crate::kernels::Activation;
pub use batch_norm::BatchNorm;
pub use block::Block;
pub use chain::Chain;
pub use convolution::{Convolution, Depthwise};
pub use dropout::Dropout;
pub(crate) use layer::kept;
pub use layer::{Layer, Parameter, Pass, Slot, Visitor};
pub use linear::Linear;
pub use pool::GlobalAveragePool;
pub use residual::Residual;
pub use values::Buffers;
