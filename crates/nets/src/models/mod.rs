//! Networks, written in layers.

mod architecture;
mod builder;
mod efficientnet;
mod mobilenet;
mod network;
mod resnet;
mod unet;
mod vgg;

pub use architecture::{
    Architecture, Family, MAX_CLASSES, MAX_FEATURES, MAX_SIDE, MIN_SIDE, Scale,
};
pub(crate) use network::is_head;
pub use network::{Network, Output};
pub use unet::UNet;
