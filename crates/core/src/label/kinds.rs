//! States of labels and types of labelling (FORMATS B.1, B.2).

use serde::{Deserialize, Deserializer, Serialize};

use crate::formats::lenient;

/// How far the labelling of an image came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelState {
    /// 1: there is nothing to label.
    Null,
    /// 2.
    #[default]
    WaitLabel,
    /// 3: a person is at it.
    Labeling,
    /// 4.
    DoneLabel,
}

impl LabelState {
    const ALL: [(u32, &'static str, Self); 4] = [
        (1, "null", Self::Null),
        (2, "wait_label", Self::WaitLabel),
        (3, "labeling", Self::Labeling),
        (4, "done_label", Self::DoneLabel),
    ];

    /// The predecessor's number.
    pub fn number(self) -> u32 {
        let row = Self::ALL.iter().find(|row| row.2 == self);
        row.map(|row| row.0).expect("the table holds every state")
    }
}

impl<'de> Deserialize<'de> for LabelState {
    /// Reads our names, the predecessor's (`WAIT_LABEL`) and its numbers, as a number or as text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = lenient::text(deserializer)?;
        let found = Self::ALL.iter().find(|(number, name, _)| {
            name.eq_ignore_ascii_case(&text) || number.to_string() == text
        });
        found.map(|row| row.2).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "label state `{}` is none of 1 to 4",
                crate::ids::shown(&text)
            ))
        })
    }
}

/// What kind of answer a label type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelType {
    /// 0: cells and remarks, no class of the whole image.
    Base,
    /// 1100 (and 1201 of older code): one class of many.
    Classification,
    /// 1101, also 1001 of the design text and 1102 of older code: one class of two.
    TwoClass,
    /// 1200.
    Recognition,
    /// 1300.
    Segmentation,
    /// 1310.
    SemanticSegmentation,
    /// 1320.
    InstanceSegmentation,
    /// 1330.
    PanopticSegmentation,
    /// 1400: a text.
    Caption,
}

impl LabelType {
    /// Every number that was ever written for a type; `None` for others.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Base,
            1100 | 1201 => Self::Classification,
            1001 | 1101 | 1102 => Self::TwoClass,
            1200 => Self::Recognition,
            1300 => Self::Segmentation,
            1310 => Self::SemanticSegmentation,
            1320 => Self::InstanceSegmentation,
            1330 => Self::PanopticSegmentation,
            1400 => Self::Caption,
            _ => return None,
        })
    }

    /// The number that is written.
    pub const fn code(self) -> u32 {
        match self {
            Self::Base => 0,
            Self::Classification => 1100,
            Self::TwoClass => 1101,
            Self::Recognition => 1200,
            Self::Segmentation => 1300,
            Self::SemanticSegmentation => 1310,
            Self::InstanceSegmentation => 1320,
            Self::PanopticSegmentation => 1330,
            Self::Caption => 1400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_in_every_form_and_written_in_one() {
        for text in ["3", "\"3\"", "\"LABELING\"", "\"labeling\""] {
            let state: LabelState = serde_json::from_str(text).unwrap();
            assert_eq!(state, LabelState::Labeling);
        }
        assert!(serde_json::from_str::<LabelState>("5").is_err());
        assert_eq!(
            serde_json::to_string(&LabelState::WaitLabel).unwrap(),
            "\"wait_label\""
        );
        assert_eq!(LabelState::DoneLabel.number(), 4);
    }

    #[test]
    fn every_written_type_is_read_as_itself() {
        for code in [
            0, 1001, 1100, 1101, 1102, 1200, 1201, 1300, 1310, 1320, 1330, 1400,
        ] {
            let of_type = LabelType::from_code(code).unwrap();
            assert_eq!(LabelType::from_code(of_type.code()), Some(of_type));
        }
        assert_eq!(LabelType::from_code(1001), Some(LabelType::TwoClass));
        assert_eq!(LabelType::from_code(7), None);
    }
}
