//! torchvision's `resnet18`, `resnet34`, `vgg11` and `vgg16`, without normalisation in the latter two.

use super::Source;
use crate::models::Family;
use crate::samples::Normalisation;

pub(super) const SOURCE: Source = Source {
    name: "torchvision",
    rename,
    // Of ImageNet's pictures; every model there is trained with it.
    normalisation: Some(Normalisation {
        mean: [0.485, 0.456, 0.406],
        deviation: [0.229, 0.224, 0.225],
    }),
};

fn rename(family: Family, ours: &str) -> Option<String> {
    let (place, value) = ours.rsplit_once('.')?;
    let place = match family {
        Family::ResNet18 | Family::ResNet34 => resnet(place)?,
        Family::Vgg11 => vgg(place, [1, 1, 2, 2, 2])?,
        Family::Vgg16 => vgg(place, [2, 2, 3, 3, 3])?,
        Family::MobileNet | Family::EfficientNetLite0 => return None,
    };
    Some(format!("{place}.{value}"))
}

fn resnet(place: &str) -> Option<String> {
    let Some(place) = place.strip_prefix("stages.") else {
        let name = match place {
            "stem.0" => "conv1",
            "stem.1" => "bn1",
            _ => return None,
        };
        return Some(name.to_owned());
    };
    let (stage, place) = place.split_once('.')?;
    let (block, part) = place.split_once('.')?;
    let part = match part {
        "first.0" => "conv1",
        "first.1" => "bn1",
        "second.0" => "conv2",
        "second.1" => "bn2",
        "shortcut.0" => "downsample.0",
        "shortcut.1" => "downsample.1",
        _ => return None,
    };
    let stage: usize = stage.parse().ok()?;
    Some(format!("layer{}.{block}.{part}", stage + 1))
}

/// All layers are numbered there: a convolution and its rectifier are two, a pool is one.
fn vgg(place: &str, n_convolutions: [usize; 5]) -> Option<String> {
    let (stage, at) = place.strip_prefix("stages.")?.split_once('.')?;
    let (stage, at): (usize, usize) = (stage.parse().ok()?, at.parse().ok()?);
    let before = n_convolutions.iter().take(stage);
    let layer = before.map(|n| 2 * n + 1).sum::<usize>() + 2 * at;
    Some(format!("features.{layer}"))
}
