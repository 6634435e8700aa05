//! The networks that answer for every pixel.

use crate::layers::Chain;
use crate::models::{Family, MULTIPLE, Pyramid, Scale, UNet, is_above, is_head};
use candle_core::{Device, Result};
use serde::{Deserialize, Serialize};

/// The layers of a segmenter, apart from their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum SegmenterNetwork {
    /// Fresh weights all the way.
    UNet {
        /// 8, 16 or 32 channels at the picture's own size, twice as many at each half of it.
        scale: Scale,
        /// How often the picture is halved.
        depth: usize,
    },
    /// A family's layers on the way down, for which there are weights of others, and a way up of its own.
    Family {
        family: Family,
        scale: Scale,
        /// Channels on the way up.
        width: usize,
    },
}

impl SegmenterNetwork {
    /// Pictures `[n, h, w, 3]`, whose sides are multiples of [`MULTIPLE`], to answers `[n, h, w, n_outputs]`.
    pub(super) fn build(&self, n_outputs: usize, seed: u64, device: &Device) -> Result<Chain> {
        match *self {
            Self::UNet { scale, depth } => {
                let network = UNet {
                    base: base(scale),
                    depth,
                    n_classes: n_outputs,
                };
                network.build(seed, device)
            }
            Self::Family {
                family,
                scale,
                width,
            } => {
                let network = Pyramid {
                    family,
                    scale,
                    width,
                    n_outputs,
                };
                network.build_whole(seed, device)
            }
        }
    }

    /// Whether a value is no part of what weights from elsewhere bring.
    pub(super) fn is_head(&self, name: &str) -> bool {
        match self {
            Self::UNet { .. } => is_head(name),
            Self::Family { .. } => is_above(name),
        }
    }

    pub(super) fn problems(&self) -> Option<String> {
        let (name, value, low, high) = match *self {
            Self::UNet { depth, .. } => ("depth", depth, 1, MULTIPLE.ilog2() as usize),
            Self::Family { width, .. } => ("width", width, 8, 1024),
        };
        let is_right = (low..=high).contains(&value);
        (!is_right).then(|| format!("{name} is {value}, it goes from {low} to {high}"))
    }
}

const fn base(scale: Scale) -> usize {
    match scale {
        Scale::Small => 8,
        Scale::Normal => 16,
        Scale::Big => 32,
    }
}
