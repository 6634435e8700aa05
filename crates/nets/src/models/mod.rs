//! Networks, written in layers.

mod architecture;
mod mobilenet;
mod network;

pub use architecture::{
    Architecture, Family, MAX_CLASSES, MAX_FEATURES, MAX_SIDE, MIN_SIDE, Scale,
};
pub use mobilenet::mobilenet;
pub use network::{Network, Output};
