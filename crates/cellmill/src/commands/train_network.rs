//! The options of `train` that are about the network, and the weights that it begins with.

use std::path::PathBuf;

use cellmill_api::views::NewWeights;
use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::WeightsKey;
use cellmill_core::training::NetworkSettings;
use cellmill_nets::{Family, Scale, TrainOptions, weights};

use super::numbers::finite;
use crate::cli::Error;

/// The networks by name, and `auto`.
const NETS: [&str; 7] = [
    "mobilenet",
    "efficientnet_lite0",
    "resnet18",
    "resnet34",
    "vgg11",
    "vgg16",
    "auto",
];
/// Larger files are not read; the server refuses them too.
const MAX_WEIGHTS_BYTES: u64 = 1 << 30;

/// The network and how it learns.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NetworkArgs {
    /// Kind of network, the fastest first [default: mobilenet]
    ///
    /// `mobilenet`: thousands of cells in minutes on a processor, and as good as any on crops of 64 pixels.
    /// `efficientnet_lite0`: about one and a half times the time; the one to take with `--weights` of photographs when cells are few.
    /// `resnet18`, `resnet34`: about two and four times the time; for sides of 100 pixels and more.
    /// `vgg11`, `vgg16`: about four and eight times; for comparison with what was published.
    /// `auto`: networks that fit into `--time` are tried, worse ones are dropped after a few epochs, the best goes on.
    #[arg(long, value_name = "NET", value_parser = NETS)]
    pub(super) net: Option<String>,
    /// Size of the network; with `--net auto` the largest that is tried [default: small, with weights normal]
    #[arg(long, value_name = "SCALE", value_parser = ["small", "normal", "big"])]
    scale: Option<String>,
    /// Begin with these weights: a .safetensors, .pth, .pt, .bin or .h5 file of at most 1 GiB
    ///
    /// Known are files of torchvision (`ResNet`, VGG), of EfficientNet-Lite0, of Keras (VGG16) and models of Cellmill.
    /// The file is checked here and stored once, under its hash.
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// With weights: what they learn with, as a part of the learning rate; at 0 they stay as they are [default: 0.3]
    #[arg(long, value_name = "PART", requires = "weights", value_parser = finite, allow_negative_numbers = true)]
    pub(super) body_rate: Option<f64>,
    /// Part of the features that a step leaves out, against learning by heart [default: 0.2]
    #[arg(long, value_name = "PART", value_parser = finite, allow_negative_numbers = true)]
    dropout: Option<f64>,
    /// Most epochs [default: 30, with weights 6]
    #[arg(long, value_name = "N")]
    pub(super) epochs: Option<u32>,
    /// Cells of one step [default: 64, with weights 32]
    #[arg(long, value_name = "N")]
    pub(super) batch: Option<u32>,
    /// Highest learning rate [default: the network's own, with weights 0.001]
    #[arg(long, value_name = "RATE", value_parser = finite, allow_negative_numbers = true)]
    pub(super) learning_rate: Option<f64>,
    /// Ends after so many epochs without a better one [default: never]
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<u32>,
    /// Judge and keep the mean of the weights over steps, by this decay: 0.999 for thousands of steps, 0.99 for hundreds
    #[arg(long, value_name = "DECAY", value_parser = finite, allow_negative_numbers = true)]
    pub(super) ema: Option<f64>,
    /// Mix pictures in pairs, by shares drawn from Beta(ALPHA, ALPHA): 0.2 helps where cells are few [default: 0]
    #[arg(long, value_name = "ALPHA", value_parser = finite, allow_negative_numbers = true)]
    mixup: Option<f64>,
    /// The network sees grey
    #[arg(long)]
    pub(super) gray: bool,
    /// No flips, turns, blur, colour jitter and shifts
    #[arg(long)]
    pub(super) no_augment: bool,
}

/// A file of weights that was checked.
pub(super) struct WeightsFile {
    pub(super) announced: NewWeights,
    pub(super) bytes: Vec<u8>,
}

impl NetworkArgs {
    /// What was asked for, but for the key of the weights.
    pub(super) fn settings(&self) -> NetworkSettings {
        let defaults = self.defaults();
        NetworkSettings {
            family: self.net.clone().unwrap_or(defaults.family),
            scale: self.scale().to_owned(),
            dropout: self.dropout.unwrap_or(defaults.dropout),
            epochs: self.epochs.unwrap_or(defaults.epochs),
            batch: self.batch.unwrap_or(defaults.batch),
            learning_rate: self.learning_rate.or(defaults.learning_rate),
            ema: self.ema.or(defaults.ema),
            mixup: self.mixup.unwrap_or(defaults.mixup),
            body_rate: self.body_rate,
            patience: self.patience.or(defaults.patience),
            gray: self.gray,
            augment: !self.no_augment,
            ..defaults
        }
    }

    /// What holds where nobody chose. Weights that know something already want fewer and gentler steps: these were
    /// measured, see `crates/nets/design.md`.
    fn defaults(&self) -> NetworkSettings {
        let fresh = NetworkSettings::default();
        if self.weights.is_none() {
            return fresh;
        }
        NetworkSettings {
            epochs: 6,
            batch: 32,
            learning_rate: Some(1e-3),
            // The epoch in which the head learns alone is the warm-up.
            warm_up_epochs: 0.0,
            ..fresh
        }
    }

    /// Side of the network's input in pixels where nobody chose.
    pub(super) const fn default_side(&self) -> u32 {
        if self.weights.is_some() { 96 } else { 64 }
    }

    /// Weights of others were trained at the scale of the paper.
    pub(super) fn scale(&self) -> &str {
        match (&self.scale, &self.weights) {
            (Some(scale), _) => scale,
            (None, Some(_)) => "normal",
            (None, None) => "small",
        }
    }

    /// Which options were given that say how a classifier learns, and no detector.
    pub(super) fn of_classifiers(&self) -> [(&'static str, bool); 4] {
        [
            ("--net auto", self.net.as_deref() == Some("auto")),
            ("--dropout", self.dropout.is_some()),
            ("--patience", self.patience.is_some()),
            ("--mixup", self.mixup.is_some()),
        ]
    }

    /// The file that was given, checked against the network that is to begin with it.
    pub(super) fn weights_file(&self, side: u32) -> Result<Option<WeightsFile>, Error> {
        self.checked_file(side, &self.settings().family)
    }

    /// The same for layers of this family that others are built upon.
    pub(super) fn weights_file_for(&self, family: &str) -> Result<Option<WeightsFile>, Error> {
        self.checked_file(self.default_side(), family)
    }

    fn checked_file(&self, side: u32, family: &str) -> Result<Option<WeightsFile>, Error> {
        let Some(path) = &self.weights else {
            return Ok(None);
        };
        let ending = path.extension().and_then(|it| it.to_str()).unwrap_or("");
        let found = std::fs::metadata(path).map_err(Error::file("read", path))?;
        if !found.is_file() {
            // A pipe or a device has no size, so no limit could be held.
            return Err(Error::usage(format!(
                "`{}` is no regular file: weights are read from one",
                path.display()
            )));
        }
        let size = found.len();
        if size == 0 {
            return Err(Error::usage(format!("`{}` is empty", path.display())));
        }
        if size > MAX_WEIGHTS_BYTES {
            return Err(Error::usage(format!(
                "`{}` has {size} bytes, weights have at most {MAX_WEIGHTS_BYTES}",
                path.display()
            )));
        }
        let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
        let malformed = |source: weights::WeightsError| Error::Malformed {
            path: path.clone(),
            source: source.into(),
        };
        let foreign = weights::read(&bytes).map_err(malformed)?;
        self.check_fit(&foreign, side, family).map_err(malformed)?;
        let sha256 = sha256_hex(&bytes);
        if WeightsKey::new(&sha256, ending).is_none() {
            return Err(Error::Usage {
                what: format!(
                    "`{}` ends in none of {}",
                    path.display(),
                    WeightsKey::ENDINGS.join(", ")
                ),
                hint: Some("name the file for what is in it".to_owned()),
            });
        }
        Ok(Some(WeightsFile {
            announced: NewWeights {
                sha256,
                bytes: bytes.len() as u64,
                ending: ending.to_owned(),
            },
            bytes,
        }))
    }

    /// With `auto` they have to fit one of the networks.
    fn check_fit(
        &self,
        foreign: &weights::Foreign,
        side: u32,
        family: &str,
    ) -> Result<(), weights::WeightsError> {
        let settings = self.settings();
        let scale = match settings.scale.as_str() {
            "big" => Scale::Big,
            "normal" => Scale::Normal,
            _ => Scale::Small,
        };
        let fit = |family: Family| {
            let options = TrainOptions {
                family,
                scale,
                side: side as usize,
                features: settings.features as usize,
                ..TrainOptions::default()
            };
            options.fit(foreign).map(drop)
        };
        let chosen = Family::ALL.into_iter().find(|it| it.name() == family);
        if let Some(family) = chosen {
            return fit(family);
        }
        let mut refusal = Ok(());
        for family in Family::ALL {
            refusal = fit(family);
            if refusal.is_ok() {
                break;
            }
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        network: NetworkArgs,
    }

    fn parsed(line: &[&str]) -> Result<NetworkArgs, clap::Error> {
        let line = std::iter::once("train").chain(line.iter().copied());
        Line::try_parse_from(line).map(|it| it.network)
    }

    #[test]
    fn every_network_of_the_crate_has_a_name_here() {
        let names: Vec<&str> = Family::ALL.into_iter().map(Family::name).collect();
        assert_eq!(names, NETS[..6]);
    }

    #[test]
    fn options_reach_the_settings_and_nothing_else_does() {
        assert_eq!(parsed(&[]).unwrap().settings(), NetworkSettings::default());
        let line = [
            "--net",
            "resnet18",
            "--ema",
            "0.99",
            "--mixup",
            "0.2",
            "--dropout",
            "0.5",
        ];
        let it = parsed(&line).unwrap().settings();
        let expected = NetworkSettings {
            family: "resnet18".to_owned(),
            ema: Some(0.99),
            mixup: 0.2,
            dropout: 0.5,
            ..NetworkSettings::default()
        };
        assert_eq!(it, expected);
        assert!(parsed(&["--body-rate", "0.1"]).is_err(), "without weights");
        assert!(parsed(&["--net", "alexnet"]).is_err());
        // JSON has no such numbers: they would arrive as nothing.
        for odd in ["NaN", "inf", "-inf"] {
            assert!(parsed(&["--learning-rate", odd]).is_err(), "{odd}");
            assert!(parsed(&["--ema", odd]).is_err(), "{odd}");
        }
        assert!(
            parsed(&["--dropout", "-0.1"]).is_ok(),
            "the server says the limits"
        );
        let with_weights = parsed(&["--weights", "a.pth", "--body-rate", "0.3"]).unwrap();
        assert_eq!(with_weights.settings().scale, "normal");
        assert_eq!(with_weights.settings().body_rate, Some(0.3));
    }

    #[test]
    fn what_is_no_weights_file_is_told_before_it_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pth");
        let given = |path: &std::path::Path| {
            let text = path.to_string_lossy().into_owned();
            parsed(&["--weights", &text]).unwrap().weights_file(64)
        };
        assert!(matches!(given(&path), Err(Error::File { .. })));
        assert!(matches!(given(folder.path()), Err(Error::Usage { .. })));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(given(&path), Err(Error::Usage { .. })));
        std::fs::write(&path, "GIF89a").unwrap();
        let Err(Error::Malformed { source, .. }) = given(&path) else {
            panic!("it is no file of weights");
        };
        assert!(source.to_string().contains("not a weights file"));
    }
}
