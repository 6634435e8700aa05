//! Networks that say something at every place of a field of view, and how they learn: from crops of pictures of any
//! size. What they say, and what is right, is a [`Task`]'s business: cells in boxes, or a class at every pixel.

mod checkpoint;
mod crop;
mod error;
pub(crate) mod memory;
mod network;
mod options;
mod picture;
mod sample;
mod task;
mod trainer;

pub use crop::Crop;
pub use error::DenseError;
pub(crate) use network::DenseNetwork;
pub use options::DenseOptions;
pub use picture::{Field, Picture, PictureError};
pub use task::Task;
pub use trainer::{DenseEpoch, DenseStep, DenseTrainer};
