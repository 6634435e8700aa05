//! What can be built: families, scales, and their limits.

use super::{Network, mobilenet};
use serde::{Deserialize, Serialize};

/// The kinds of networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `MobileNet` version 1 (Howard et al. 2017).
    #[default]
    MobileNet,
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
        }
    }
}
