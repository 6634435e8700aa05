//! Networks, written in layers.

mod architecture;
mod body;
mod builder;
mod efficientnet;
mod mobilenet;
mod network;
mod pyramid;
mod resnet;
mod unet;
mod vgg;

pub use architecture::{
    Architecture, Family, MAX_CLASSES, MAX_FEATURES, MAX_SIDE, MIN_SIDE, Scale,
};
pub(crate) use network::is_head;
pub use network::{Network, Output};
pub(crate) use pyramid::{ANSWER_BIAS, is_above};
pub use pyramid::{MULTIPLE, Pyramid, STRIDE};
pub use unet::UNet;
