//! What a training and a prediction are asked to do.

use serde::{Deserialize, Serialize};

use crate::ids::{Dir, TableName};
use crate::keys::{ModelKey, ModelKind};
use crate::split::SplitRule;

/// A training of a classifier (FORMATS A.6, A.10; DESIGN 8), or of a detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainParameters {
    /// The data set, by directory and number.
    pub ddir: Dir,
    pub did: u64,
    /// The number that the model gets.
    pub mid: u64,
    /// The classes to tell apart, in the order of the network's outputs. With `merge`: those of the merged classes.
    pub types: Vec<u32>,
    /// Classes made of several of the data set's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge: Vec<MergedClass>,
    /// Side of the network's input in pixels.
    pub resize: u32,
    /// Longest time in seconds; 0: until the last epoch.
    pub time: u64,
    pub split: SplitRule,
    /// Decides initial weights, split, order, augmentation.
    pub seed: u64,
    pub network: NetworkSettings,
    /// A detector learns where cells of these classes are, by these settings; `network` and `resize` are then those of
    /// nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Box<DetectorSettings>>,
    /// A periodic training for this label type: its model is adopted when it is not worse than the one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propose_for: Option<TableName>,
    /// Labels dealt out at random among the cells: a check that nothing but the labels is learned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shuffle_labels: bool,
    /// The report tells where the time went, and a trace of steps is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,
}

/// One class made of several: `negative` = 1, 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedClass {
    pub class: u32,
    pub name: String,
    /// The data set's classes that it is made of.
    pub of: Vec<u32>,
}

/// A network and how it learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// `mobilenet`, `efficientnet_lite0`, `resnet18`, `resnet34`, `vgg11`, `vgg16`; or `auto`: several are tried.
    pub family: String,
    /// `small`, `normal`, `big`. With `auto`: the largest that is tried.
    pub scale: String,
    /// Width of the layer before the classes.
    pub features: u32,
    /// The network sees grey.
    pub gray: bool,
    pub epochs: u32,
    /// Cells of one step.
    pub batch: u32,
    /// The highest; `None`: the one that suits the family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    pub weight_decay: f64,
    pub warm_up_epochs: f64,
    pub label_smoothing: f64,
    /// `none`, `balanced`, `square_root`: how rare classes count.
    pub class_weights: String,
    /// Flips, quarter turns, blur, colour jitter, small shifts.
    pub augment: bool,
    pub dropout: f64,
    /// Ends after this many epochs without a better one.
    pub patience: Option<u32>,
    /// The weights are averaged over steps with this decay, and the average is what is judged and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Pairs of pictures are mixed, by shares drawn from Beta(this, this); 0: they are not.
    #[serde(skip_serializing_if = "is_zero")]
    pub mixup: f64,
    /// Key of a file of weights from elsewhere that the training begins with: `modules/weights/<sha256>.<ending>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// With such weights: what they learn with, as a part of the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_rate: Option<f64>,
}

/// A detector and how it learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorSettings {
    /// The layers on the way down: `resnet18`, `mobilenet`, `efficientnet_lite0`, `resnet34`, `vgg11`, `vgg16`.
    pub family: String,
    /// `small`, `normal`, `big`.
    pub scale: String,
    /// Channels on the way up.
    pub width: u32,
    /// Pixels that the network sees for one of the image; `None`: such that a usual cell has some 50 of them a side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zoom: Option<f64>,
    /// Side of the squares that it learns from, in pixels as it sees them.
    pub side: u32,
    /// The network sees grey.
    pub gray: bool,
    pub epochs: u32,
    /// Squares of one step.
    pub batch: u32,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Flips, quarter turns, sizes and colours.
    pub augment: bool,
    /// Squares are larger or smaller by up to this part.
    pub scale_jitter: f64,
    /// The weights are averaged over steps with this decay, and the average is what is judged and kept.
    pub ema: f64,
    /// Key of a file of weights from elsewhere that the way down begins with: `modules/weights/<sha256>.<ending>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// With such weights: what they learn with, as a part of the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_rate: Option<f64>,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            family: "resnet18".to_owned(),
            scale: "small".to_owned(),
            width: 64,
            zoom: None,
            side: 256,
            gray: false,
            epochs: 40,
            batch: 8,
            learning_rate: 2e-3,
            weight_decay: 0.05,
            augment: true,
            scale_jitter: 0.3,
            ema: 0.998,
            weights: None,
            body_rate: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(it: &f64) -> bool {
    it.abs() <= 0.0
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            family: "mobilenet".to_owned(),
            scale: "small".to_owned(),
            features: 256,
            gray: false,
            epochs: 30,
            batch: 64,
            learning_rate: None,
            weight_decay: 0.05,
            warm_up_epochs: 1.0,
            label_smoothing: 0.1,
            class_weights: "square_root".to_owned(),
            augment: true,
            dropout: 0.2,
            patience: None,
            ema: None,
            mixup: 0.0,
            weights: None,
            body_rate: None,
        }
    }
}

impl TrainParameters {
    /// Where its model will be.
    pub fn model_key(&self) -> ModelKey {
        let kind = match self.detector {
            Some(_) => ModelKind::Detector,
            None => ModelKind::Classifier,
        };
        ModelKey::of_number(kind, self.mid)
    }

    /// The key of the weights from elsewhere that it begins with, if it does.
    pub fn weights(&self) -> Option<&str> {
        let weights = match &self.detector {
            Some(it) => &it.weights,
            None => &self.network.weights,
        };
        weights.as_deref()
    }

    /// The class that a cell of the data set counts as; `None`: it takes no part.
    pub fn class_of(&self, class: u32) -> Option<usize> {
        let merged = self.merge.iter().find(|it| it.of.contains(&class));
        let class = match merged {
            Some(it) => it.class,
            None if self.merge.is_empty() => class,
            None => return None,
        };
        self.types.iter().position(|&it| it == class)
    }

    /// The data set's classes that take part, in the order in which their cells are taken.
    pub fn source_classes(&self) -> Vec<u32> {
        if self.merge.is_empty() {
            return self.types.clone();
        }
        self.merge.iter().flat_map(|it| it.of.clone()).collect()
    }
}

/// A prediction (FORMATS A.6, A.10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictParameters {
    /// The data set, by directory and number.
    pub ddir: Dir,
    pub did: u64,
    /// The classifier.
    pub mid: u64,
    /// The data set's classes whose cells are predicted; empty: all.
    #[serde(default)]
    pub types: Vec<u32>,
    /// The data set's classes are the truth (`parameter_type` 1).
    pub is_labelled: bool,
    /// Answers 50 (negative) and 51 (positive) instead of the model's classes.
    #[serde(default)]
    pub binary: bool,
    /// With `binary`: a cell is positive when this recall of the positive ones is kept, by the model's validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_recall: Option<f64>,
    /// Cells whose own box is smaller than this on a side, in pixels, are 201 with certainty 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_side: Option<u32>,
    /// A model that tells cells from what is none: its second class is 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_mid: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged() -> TrainParameters {
        let class = |class, name: &str, of: &[u32]| MergedClass {
            class,
            name: name.to_owned(),
            of: of.to_vec(),
        };
        TrainParameters {
            ddir: Dir::parse("DkxD9Kjl").unwrap(),
            did: 1,
            mid: 100,
            types: vec![50, 51],
            merge: vec![
                class(50, "negative", &[1, 5]),
                class(51, "positive", &[2, 3]),
            ],
            resize: 64,
            time: 0,
            split: SplitRule::Case,
            seed: 1,
            network: NetworkSettings::default(),
            detector: None,
            propose_for: None,
            shuffle_labels: false,
            profile: false,
        }
    }

    #[test]
    fn a_merged_class_takes_its_members_and_no_other() {
        let it = merged();
        assert_eq!(
            [1, 5, 2, 3, 7].map(|class| it.class_of(class)),
            [Some(0), Some(0), Some(1), Some(1), None]
        );
        assert_eq!(it.source_classes(), [1, 5, 2, 3]);
        let plain = TrainParameters {
            merge: Vec::new(),
            types: vec![7, 1],
            ..it
        };
        assert_eq!(
            [7, 1, 2].map(|class| plain.class_of(class)),
            [Some(0), Some(1), None]
        );
    }

    #[test]
    fn parameters_read_back() {
        let text = serde_json::to_string(&merged()).unwrap();
        assert_eq!(
            serde_json::from_str::<TrainParameters>(&text).unwrap(),
            merged()
        );
        assert!(serde_json::from_str::<NetworkSettings>(r#"{"epoch":1}"#).is_err());
    }

    /// What an older program wrote is read, and what it would not know is left out where nobody asked for it.
    #[test]
    fn settings_that_nobody_chose_are_not_written() {
        let text = serde_json::to_string(&NetworkSettings::default()).unwrap();
        for name in ["ema", "mixup", "weights", "body_rate", "learning_rate"] {
            assert!(!text.contains(&format!("\"{name}\":")), "{text}");
        }
        let old: NetworkSettings = serde_json::from_str(r#"{"learning_rate":0.003}"#).unwrap();
        assert_eq!(old.learning_rate, Some(0.003));
    }
}
