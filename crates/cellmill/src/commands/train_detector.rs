//! The options of `train --kind detect`.

use cellmill_core::training::DetectorSettings;
use cellmill_nets::Family;

use super::numbers::finite;
use super::train_network::{NetworkArgs, WeightsFile};
use crate::cli::Error;

/// How a detector looks at images.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DetectorArgs {
    /// Detectors: all classes as one, `cell` (class 100)
    #[arg(long, conflicts_with = "merge")]
    pub(super) agnostic: bool,
    /// Detectors: pixels that the network sees for one of the image [default: so many that a usual cell has 54 a side]
    #[arg(long, value_name = "FACTOR", value_parser = finite, allow_negative_numbers = true)]
    zoom: Option<f64>,
    /// Detectors: channels of the layers that answer [default: 64]
    #[arg(long, value_name = "N")]
    width: Option<u32>,
}

impl DetectorArgs {
    /// Which of its options were given.
    pub(super) fn given(&self) -> [(&'static str, bool); 3] {
        [
            ("--agnostic", self.agnostic),
            ("--zoom", self.zoom.is_some()),
            ("--width", self.width.is_some()),
        ]
    }

    /// What was asked for, but for the key of the weights, and the weights.
    pub(super) fn settings(
        &self,
        network: &NetworkArgs,
    ) -> Result<(DetectorSettings, Option<WeightsFile>), Error> {
        let defaults = DetectorSettings::default();
        let mut settings = DetectorSettings {
            family: network.net.clone().unwrap_or(defaults.family),
            scale: network.scale().to_owned(),
            width: self.width.unwrap_or(defaults.width),
            zoom: self.zoom,
            gray: network.gray,
            epochs: network.epochs.unwrap_or(defaults.epochs),
            batch: network.batch.unwrap_or(defaults.batch),
            learning_rate: network.learning_rate.unwrap_or(defaults.learning_rate),
            augment: !network.no_augment,
            ema: network.ema.unwrap_or(defaults.ema),
            body_rate: network.body_rate,
            ..defaults
        };
        if network.weights.is_none() {
            return Ok((settings, None));
        }
        if network.net.is_some() {
            let file = network.weights_file_for(&settings.family)?;
            return Ok((settings, file));
        }
        // Whatever the weights are of.
        let mut refusal = None;
        for family in Family::ALL.map(Family::name) {
            match network.weights_file_for(family) {
                Ok(file) => {
                    family.clone_into(&mut settings.family);
                    return Ok((settings, file));
                }
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.expect("there are families"))
    }
}
