//! Arithmetic on slices of `f32`, channels last, on the processor. Nothing here knows layers or files.
//!
//! The rule that makes results reproducible: work is cut into parts whose number follows from the shape
//! alone, and sums over parts are added in the order of the parts. Rayon may run the parts on any number of
//! threads; the bits stay the same.

mod activation;
pub(crate) mod bias;
pub(crate) mod concat;
pub(crate) mod convolution;
pub(crate) mod depthwise;
pub(crate) mod loss;
pub(crate) mod max_pool;
mod native;
pub(crate) mod norm;
mod padding;
mod parts;
pub(crate) mod pool;
mod product;
pub(crate) mod residual;
mod scratch;
mod slide;
pub(crate) mod transposed;
mod winograd;

pub use activation::Activation;
pub(crate) use activation::held;
pub use native::instruction_set;
pub(crate) use native::{Kernel, LANES, Matrix, Simd, add_products, kernel, multiply, vectorised};
pub use padding::Padding;
pub(crate) use parts::{add, add_chunks, add_parts, cut};
