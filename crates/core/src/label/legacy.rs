//! Label files of the predecessor, in every variant that was ever written (FORMATS B.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kinds::LabelType;
use crate::formats::lenient;

/// One label file: the class of a whole image, or its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct LegacyLabel {
    /// The number as it was written; [`LegacyLabel::label_type`] says what it means.
    pub code: u32,
    pub data: LegacyData,
}

/// What a label file says.
#[derive(Clone, Debug, PartialEq)]
pub enum LegacyData {
    /// Nothing: variants 1 and 6 (recognition, segmentation).
    Empty,
    /// One class of several: variants 2 to 5.
    Class(LegacyClass),
    /// Variant 6.
    Caption(String),
}

/// A class among others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegacyClass {
    #[serde(rename = "key")]
    pub names: Vec<String>,
    /// One number per name, or none where the file had none. Zeros mean that nobody has answered yet.
    #[serde(rename = "weight")]
    pub weights: Vec<f64>,
    /// Index into the names.
    pub value: u32,
}

/// Why a text is no label file of the predecessor.
#[derive(Debug, thiserror::Error)]
pub enum LegacyLabelError {
    #[error("the label file has none of the known forms")]
    Malformed(#[source] serde_json::Error),
    #[error("the label file gives neither `type` nor `alg`")]
    NoType,
    #[error("the label file gives {n_weights} weights for {n_names} names")]
    WeightCount { n_names: usize, n_weights: usize },
    #[error("the label file says class {value}, it names {n_names}")]
    NoSuchClass { value: f64, n_names: usize },
}

impl LegacyLabel {
    /// What kind of answer this is, `None` for a number that nobody wrote.
    pub fn label_type(&self) -> Option<LabelType> {
        LabelType::from_code(self.code)
    }

    /// Reads any variant. They are told apart by the shape of `key`, as different code wrote different forms under one
    /// number:
    ///
    /// - an object (`{"0": "cat", "1": "dog"}`): the names by index; `value` is the score of the second of two classes
    ///   when it is a fraction, else an index;
    /// - an array: the names; `value` is an index, `weight` holds numbers or texts.
    pub fn parse(bytes: &[u8]) -> Result<Self, LegacyLabelError> {
        let file: File = serde_json::from_slice(bytes).map_err(LegacyLabelError::Malformed)?;
        let code = file
            .label_type
            .or(file.alg)
            .ok_or(LegacyLabelError::NoType)?;
        Ok(Self {
            code,
            data: file.data.into_data()?,
        })
    }

    /// The form that is written: `type`, an array of names, numbers as weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        let data = match &self.data {
            LegacyData::Empty => serde_json::json!({}),
            LegacyData::Class(class) => serde_json::json!(class),
            LegacyData::Caption(text) => serde_json::json!({ "value": text }),
        };
        serde_json::json!({ "type": self.code, "data": data })
            .to_string()
            .into_bytes()
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(
        rename = "type",
        default,
        deserialize_with = "lenient::optional_number"
    )]
    label_type: Option<u32>,
    #[serde(default, deserialize_with = "lenient::optional_number")]
    alg: Option<u32>,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    key: Option<Key>,
    #[serde(default, deserialize_with = "lenient::numbers")]
    weight: Vec<f64>,
    #[serde(default, deserialize_with = "lenient::text")]
    value: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Indexed(BTreeMap<String, String>),
    List(Vec<String>),
}

impl Data {
    fn into_data(self) -> Result<LegacyData, LegacyLabelError> {
        let number = self.value.trim().parse::<f64>();
        match self.key {
            Some(Key::Indexed(names)) => indexed(names, number.unwrap_or(0.0)),
            Some(Key::List(names)) => listed(names, self.weight, number.unwrap_or(0.0)),
            None if self.value.is_empty() => Ok(LegacyData::Empty),
            None => Ok(LegacyData::Caption(self.value)),
        }
    }
}

/// A fraction between two classes becomes the weights (1 - score, score); the class is the heavier one.
fn indexed(names: BTreeMap<String, String>, value: f64) -> Result<LegacyData, LegacyLabelError> {
    let mut names: Vec<(String, String)> = names.into_iter().collect();
    // As numbers: a text "10" would come before "2".
    names.sort_by_key(|(index, _)| index.parse::<u32>().unwrap_or(u32::MAX));
    let names: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
    let is_score = names.len() == 2 && value.fract() != 0.0 && (0.0..=1.0).contains(&value);
    let (weights, index) = if is_score {
        (vec![1.0 - value, value], value.round())
    } else {
        (Vec::new(), value)
    };
    listed(names, weights, index)
}

fn listed(
    names: Vec<String>,
    weights: Vec<f64>,
    value: f64,
) -> Result<LegacyData, LegacyLabelError> {
    let (n_names, n_weights) = (names.len(), weights.len());
    if n_weights != 0 && n_weights != n_names {
        return Err(LegacyLabelError::WeightCount { n_names, n_weights });
    }
    let is_index = value.fract() == 0.0 && (0.0..n_names as f64).contains(&value);
    if !is_index {
        return Err(LegacyLabelError::NoSuchClass { value, n_names });
    }
    Ok(LegacyData::Class(LegacyClass {
        names,
        weights,
        value: value as u32,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> LegacyLabel {
        let label = LegacyLabel::parse(text.as_bytes()).unwrap();
        let again = LegacyLabel::parse(&label.to_bytes()).unwrap();
        assert_eq!(again, label, "written and read again");
        label
    }

    fn class(names: &[&str], weights: &[f64], value: u32) -> LegacyData {
        let names = names.iter().map(|it| (*it).to_owned()).collect();
        LegacyData::Class(LegacyClass {
            names,
            weights: weights.to_vec(),
            value,
        })
    }

    #[test]
    fn variant_1_says_nothing() {
        assert_eq!(
            read(r#"{"alg":0,"data":{}}"#),
            LegacyLabel {
                code: 0,
                data: LegacyData::Empty
            }
        );
    }

    #[test]
    fn variant_2_has_a_score_between_two_classes() {
        let got = read(r#"{"type":1001,"data":{"key":{"0":"cat","1":"dog"},"value":0.2}}"#);
        assert_eq!(got.data, class(&["cat", "dog"], &[0.8, 0.2], 0));
        assert_eq!(got.label_type(), Some(LabelType::TwoClass));
    }

    #[test]
    fn variant_3_has_numbers_as_weights() {
        let got =
            read(r#"{"type":1001,"data":{"key":["cat","dog"],"weight":[0.2,0.78],"value":1}}"#);
        assert_eq!(got.data, class(&["cat", "dog"], &[0.2, 0.78], 1));
    }

    #[test]
    fn variant_4_has_an_index_and_no_weights() {
        let got = read(r#"{"alg":1101,"data":{"key":{"1":"dog","0":"cat"},"value":1}}"#);
        assert_eq!(got.data, class(&["cat", "dog"], &[], 1));
        let ten = r#"{"alg":1201,"data":{"key":{"0":"a","10":"k","2":"c"},"value":"2"}}"#;
        assert_eq!(
            read(ten).data,
            class(&["a", "c", "k"], &[], 2),
            "indices are numbers, not texts"
        );
    }

    #[test]
    fn variant_5_has_texts_as_weights() {
        let got =
            read(r#"{"alg":1101,"data":{"key":["cat","dog"],"weight":["0","0.5"],"value":0}}"#);
        assert_eq!(got.data, class(&["cat", "dog"], &[0.0, 0.5], 0));
        assert_eq!(
            String::from_utf8(got.to_bytes()).unwrap(),
            r#"{"data":{"key":["cat","dog"],"value":0,"weight":[0.0,0.5]},"type":1101}"#
        );
    }

    #[test]
    fn variant_6_is_a_caption_or_nothing() {
        let got = read(r#"{"alg":1400,"data":{"value":"two cells"}}"#);
        assert_eq!(got.data, LegacyData::Caption("two cells".to_owned()));
        assert_eq!(read(r#"{"alg":1300,"data":{}}"#).data, LegacyData::Empty);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, part) in [
            (r#"{"data":{}}"#, "neither `type` nor `alg`"),
            (
                r#"{"type":1101,"data":{"key":["a","b"],"weight":[1],"value":0}}"#,
                "1 weights for 2 names",
            ),
            (
                r#"{"type":1101,"data":{"key":["a","b"],"value":2}}"#,
                "says class 2, it names 2",
            ),
            (
                r#"{"type":1101,"data":{"key":["a","b"],"value":0.5}}"#,
                "says class 0.5",
            ),
            (
                r#"{"type":1101,"data":{"key":7}}"#,
                "none of the known forms",
            ),
            ("7", "none of the known forms"),
        ] {
            let error = LegacyLabel::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
