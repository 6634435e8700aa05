//! A trained classifier in the names of others.

use super::WeightsError;
use super::names::outside;
use crate::classifier::{Classifier, description};
use crate::models::is_head;
use crate::state;

/// A safetensors file with the names that the family has elsewhere: torchvision's for `ResNet` and VGG, those of the
/// distributed weights for `EfficientNet-Lite0`, our own for `MobileNet`. The head has no like there; its names
/// begin with `head.`. [`super::read`] and [`super::load_into`] take the file back.
pub fn export(classifier: &mut Classifier) -> Result<Vec<u8>, WeightsError> {
    let spec = classifier.spec().clone();
    let family = spec.architecture.family;
    let values = state::values_of(classifier.network_mut()).map_err(WeightsError::Network)?;
    let renamed = values.into_iter().map(|(name, value)| {
        let theirs = if is_head(&name) {
            None
        } else {
            outside(family).rename(family, &name)
        };
        (theirs.unwrap_or_else(|| format!("head.{name}")), value)
    });
    Ok(state::to_bytes(&renamed.collect(), description(&spec)))
}
