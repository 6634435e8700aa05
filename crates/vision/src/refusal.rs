//! Why an image is not taken, in words for people and in codes for records.

use std::error::Error;

use crate::sniff::Format;

/// What a decoder said.
pub type Cause = Box<dyn Error + Send + Sync + 'static>;

/// Why bytes were not taken as an image.
///
/// A refusal is final for these bytes: the same bytes under the same limits are
/// refused again. `Display` says what is wrong with which limit, [`Refusal::hint`]
/// what to do next, and the source what the decoder said.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("file is empty")]
    EmptyFile,
    #[error("file is {guess}, not an image of a known type")]
    UnknownType { guess: &'static str },
    #[error("{format} image of {width} x {height} pixels has no area")]
    BadDimensions {
        format: Format,
        width: u64,
        height: u64,
    },
    #[error("{what} is {value}, the limit is {limit}")]
    TooLarge {
        what: &'static str,
        value: u64,
        limit: u64,
        setting: &'static str,
    },
    #[error("image is {width} x {height} pixels, the smallest side is {limit}")]
    TooSmall { width: u32, height: u32, limit: u32 },
    #[error("image needs {scans} passes over {pixels} pixels, the limit is {limit} pixels in all")]
    TooSlow { scans: u32, pixels: u64, limit: u64 },
    #[error("{format} image is {what}, which is not read")]
    UnsupportedCodec { format: Format, what: String },
    #[error("{format} image ends early: {what}")]
    Truncated { format: Format, what: &'static str },
    #[error("{format} image is damaged")]
    DecodeFailed { format: Format, source: Cause },
}

impl Refusal {
    pub(crate) fn damaged(format: Format, cause: impl Into<Cause>) -> Self {
        Self::DecodeFailed {
            format,
            source: cause.into(),
        }
    }

    pub(crate) fn unsupported(format: Format, what: impl Into<String>) -> Self {
        Self::UnsupportedCodec {
            format,
            what: what.into(),
        }
    }

    /// The stable code for records and answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyFile => "empty_file",
            Self::UnknownType { .. } => "unknown_type",
            Self::BadDimensions { .. } => "bad_dimensions",
            Self::TooLarge { .. } => "too_large",
            Self::TooSmall { .. } => "too_small",
            Self::TooSlow { .. } => "too_slow",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::Truncated { .. } => "truncated",
            Self::DecodeFailed { .. } => "decode_failed",
        }
    }

    /// What the sender can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::EmptyFile | Self::Truncated { .. } | Self::DecodeFailed { .. } => {
                "send the file again from its source".to_owned()
            }
            Self::UnknownType { .. } => "send a JPEG, PNG, TIFF, BMP, WebP or GIF image".to_owned(),
            Self::BadDimensions { .. } => "export the image again".to_owned(),
            Self::TooLarge { setting, .. } => format!("split the image or raise `{setting}`"),
            Self::TooSmall { .. } => "send the whole field of view".to_owned(),
            Self::TooSlow { .. } => "save it as an ordinary, not progressive, JPEG".to_owned(),
            Self::UnsupportedCodec { .. } => "save it as an ordinary JPEG or PNG".to_owned(),
        }
    }
}
