//! What can be built: families, scales, and their limits.

use super::Network;
use super::efficientnet::efficientnet_lite0;
use super::mobilenet::mobilenet;
use super::resnet::resnet;
use super::vgg::vgg;
use serde::{Deserialize, Serialize};

/// The kinds of networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `MobileNet` version 1 (Howard et al. 2017).
    #[default]
    MobileNet,
    /// `EfficientNet-Lite0` (Tan and Le 2019; Liu 2020).
    #[serde(rename = "efficientnet_lite0")]
    EfficientNetLite0,
    /// He et al. 2015, 18 layers.
    ResNet18,
    /// He et al. 2015, 34 layers.
    ResNet34,
    /// Simonyan and Zisserman 2014, configuration A.
    Vgg11,
    /// Simonyan and Zisserman 2014, configuration D.
    Vgg16,
}

impl Family {
    /// All kinds, the fastest first.
    pub const ALL: [Self; 6] = [
        Self::MobileNet,
        Self::EfficientNetLite0,
        Self::ResNet18,
        Self::ResNet34,
        Self::Vgg11,
        Self::Vgg16,
    ];

    /// The name in settings and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MobileNet => "mobilenet",
            Self::EfficientNetLite0 => "efficientnet_lite0",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::Vgg11 => "vgg11",
            Self::Vgg16 => "vgg16",
        }
    }

    /// The learning rate of `AdamW` to begin with, for fresh weights. VGG has no normalisation that would even out
    /// large steps.
    pub const fn learning_rate(self) -> f64 {
        match self {
            Self::MobileNet | Self::EfficientNetLite0 => 3e-3,
            Self::ResNet18 | Self::ResNet34 => 1e-3,
            Self::Vgg11 | Self::Vgg16 => 2e-4,
        }
    }
}

/// How wide a network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Half the channels: about a quarter of the weights and of the time.
    #[default]
    Small,
    /// The channels of the paper.
    Normal,
    /// Half as many channels again: about twice the weights and the time.
    Big,
}

/// What a network is built from, apart from its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    pub family: Family,
    pub scale: Scale,
    /// Width and height of an input in pixels.
    pub side: usize,
    pub n_classes: usize,
    /// Length of the feature vector.
    pub features: usize,
}

/// Inputs smaller than this leave nothing to average.
pub const MIN_SIDE: usize = 16;
/// Larger crops of one cell do not occur; the limit keeps a hostile file from asking for memory.
pub const MAX_SIDE: usize = 512;
/// The limit on classes; class tables of the field have tens.
pub const MAX_CLASSES: usize = 1000;
/// The limit on the feature vector.
pub const MAX_FEATURES: usize = 4096;

impl Architecture {
    /// Everything that is wrong with it, a line each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |name: &str, value: usize, low: usize, high: usize| {
            if !(low..=high).contains(&value) {
                problems.push(format!("{name} is {value}, it goes from {low} to {high}"));
            }
        };
        check("side", self.side, MIN_SIDE, MAX_SIDE);
        check("n_classes", self.n_classes, 2, MAX_CLASSES);
        check("features", self.features, 1, MAX_FEATURES);
        problems
    }

    /// A network with fresh weights of this seed.
    pub fn build(
        &self,
        dropout: f64,
        seed: u64,
        device: &candle_core::Device,
    ) -> candle_core::Result<Network> {
        match self.family {
            Family::MobileNet => mobilenet(self, dropout, seed, device),
            Family::EfficientNetLite0 => efficientnet_lite0(self, dropout, seed, device),
            Family::ResNet18 => resnet(self, [2, 2, 2, 2], dropout, seed, device),
            Family::ResNet34 => resnet(self, [3, 4, 6, 3], dropout, seed, device),
            Family::Vgg11 => vgg(self, [1, 1, 2, 2, 2], dropout, seed, device),
            Family::Vgg16 => vgg(self, [2, 2, 3, 3, 3], dropout, seed, device),
        }
    }
}
