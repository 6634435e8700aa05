//! The names that keys are made of: checked once, at the edge, and never again.
//!
//! Text forms are the lab's own (`17P0603`, `1904165A`, `DkxD9Kjl`). What does not parse never reaches a key.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cell_name::escaped;

/// Longest batch or case, in bytes as written in a cell name (`.` counts as `%2E`).
pub const MAX_GROUP_BYTES: usize = 40;
/// Longest image name, in bytes as it stands in the key.
pub const MAX_IMAGE_NAME_BYTES: usize = 80;
/// Longest label date or other small path part.
pub const MAX_PART_BYTES: usize = 80;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("the {what} is empty")]
    Empty { what: &'static str },
    #[error("the {what} `{text}` holds `{bad}`, which no path part may hold")]
    BadCharacter {
        what: &'static str,
        text: String,
        bad: String,
    },
    #[error("the {what} `{text}` is reserved by the folder layout")]
    Reserved { what: &'static str, text: String },
    #[error("the {what} `{text}` has {bytes} bytes, the limit is {limit}")]
    TooLong {
        what: &'static str,
        text: String,
        bytes: usize,
        limit: usize,
    },
    #[error("the {what} `{text}` is not of the form {form}")]
    Form {
        what: &'static str,
        text: String,
        form: &'static str,
    },
}

/// Rules that hold for every part of a path, whatever it names.
fn check_part(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    let bad = |it: &str| IdError::BadCharacter {
        what,
        text: shown(text),
        bad: it.to_owned(),
    };
    if let Some(c) = text
        .chars()
        .find(|c| c.is_control() || matches!(c, '/' | '\\'))
    {
        return Err(bad(&c.escape_default().to_string()));
    }
    if text == "." || text.contains("..") {
        return Err(bad(if text == "." { "." } else { ".." }));
    }
    Ok(())
}

fn check_length(what: &'static str, text: &str, bytes: usize, limit: usize) -> Result<(), IdError> {
    if bytes > limit {
        return Err(IdError::TooLong {
            what,
            text: shown(text),
            bytes,
            limit,
        });
    }
    Ok(())
}

/// At most 60 characters of a text that may be anything, for error messages.
pub fn shown(text: &str) -> String {
    let mut it = text.chars();
    let head: String = it.by_ref().take(60).flat_map(char::escape_debug).collect();
    if it.next().is_some() {
        format!("{head}…")
    } else {
        head
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }
        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    };
}

text_id! {
    /// A delivery of cases (批次): `20190523`, `17P0603`, `redhouse`, `b1575216000000` + user id.
    BatchId
}
text_id! {
    /// One patient's slides (病例): `1904165A`, `1816798-p`.
    CaseId
}
text_id! {
    /// An image's name as it stands in its key: raw text for hospital images, URL-encoded for uploads.
    ImageName
}
text_id! {
    /// The date folder of doctors' points: `2019-7-22`, `20190523`.
    PointsDate
}
text_id! {
    /// The stem that an image and its CSV share: `IMG001x014` of `IMG001x014.JPG`.
    Stem
}
text_id! {
    /// The directory of a data set, project or index: 8 letters or digits by default (`DkxD9Kjl`).
    Dir
}
text_id! {
    /// The name of a label type or of a class table.
    TableName
}
text_id! {
    /// A worker process, one per start: letters, digits, `-`, `_`.
    WorkerId
}
text_id! {
    /// The id of an upload session, an audit entry or a write: a ULID.
    UlidText
}

/// Batches whose folder would collide with the layout under `scratch/` and the root (DESIGN 3).
const RESERVED_BATCHES: &[&str] = &["img", "review", "static", "data", "cells"];

impl BatchId {
    /// ```
    /// use cellmill_core::ids::BatchId;
    /// assert!(BatchId::parse("20190523").is_ok());
    /// assert!(BatchId::parse("../x").is_err());
    /// assert!(BatchId::parse("img").is_err(), "scratch/img/ holds uploads");
    /// ```
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let what = "batch";
        check_part(what, text)?;
        check_length(what, text, escaped(text).len(), MAX_GROUP_BYTES)?;
        if RESERVED_BATCHES.contains(&text) {
            return Err(IdError::Reserved {
                what,
                text: text.to_owned(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl CaseId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let what = "case";
        check_part(what, text)?;
        check_length(what, text, escaped(text).len(), MAX_GROUP_BYTES)?;
        Ok(Self(text.to_owned()))
    }
}

impl ImageName {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_part("image name", text)?;
        check_length("image name", text, text.len(), MAX_IMAGE_NAME_BYTES)?;
        Ok(Self(text.to_owned()))
    }

    /// The name of a hospital image: its raw text, shortened with its hash when it is too long.
    pub fn of_hospital(original: &str) -> Result<Self, IdError> {
        check_part("image name", original)?;
        Self::parse(&shortened(original, str::to_owned))
    }

    /// The name of an upload: URL-encoded (`汉 子.JPG` -> `%E6%B1%89%20%E5%AD%90.JPG`), shortened with
    /// the hash of the original when it is too long.
    pub fn of_upload(original: &str) -> Result<Self, IdError> {
        check_part("image name", original)?;
        Self::parse(&shortened(original, url_encoded))
    }

    /// The name without its extension, as doctors' CSVs repeat it.
    pub fn stem(&self) -> Stem {
        Stem(stem_of(&self.0).to_owned())
    }

    /// The original text of an upload's name, where the name still holds it all.
    pub fn decoded(&self) -> String {
        percent_decode_str(&self.0)
            .decode_utf8()
            .map_or_else(|_| self.0.clone(), Into::into)
    }
}

impl Stem {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_part("file stem", text)?;
        check_length("file stem", text, text.len(), MAX_PART_BYTES)?;
        Ok(Self(text.to_owned()))
    }

    /// The stem of a file by its original name, shortened by the same rule as an image's name.
    pub fn of_original(original: &str) -> Result<Self, IdError> {
        check_part("file stem", original)?;
        Self::parse(stem_of(&shortened(original, str::to_owned)))
    }
}

impl PointsDate {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_part("date", text)?;
        check_length("date", text, text.len(), MAX_GROUP_BYTES)?;
        Ok(Self(text.to_owned()))
    }
}

impl Dir {
    /// Letters and digits only, 1 to 40 of them. Generated ones have 8.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let what = "directory";
        check_part(what, text)?;
        check_length(what, text, text.len(), MAX_GROUP_BYTES)?;
        if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(IdError::Form {
                what,
                text: shown(text),
                form: "letters and digits, such as `DkxD9Kjl`",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TableName {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let what = "table name";
        check_part(what, text)?;
        check_length(what, text, text.len(), MAX_GROUP_BYTES)?;
        Ok(Self(text.to_owned()))
    }
}

impl WorkerId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let what = "worker id";
        check_part(what, text)?;
        check_length(what, text, text.len(), MAX_PART_BYTES)?;
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            return Err(IdError::Form {
                what,
                text: shown(text),
                form: "letters, digits, `-` and `_`",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl UlidText {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() != 26
            || !text
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        {
            return Err(IdError::Form {
                what: "id",
                text: shown(text),
                form: "a ULID of 26 characters",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

/// What a form escape leaves alone, so that keys equal those of the predecessor (FORMATS A.8).
const URL_ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'!');

fn url_encoded(text: &str) -> String {
    utf8_percent_encode(text, URL_ENCODED).to_string()
}

fn stem_of(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && is_extension(extension) => stem,
        _ => name,
    }
}

/// Anything longer, or with other characters, is part of the name.
fn is_extension(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A stem keeps its text up to here; a longer one keeps what fits beside its hash.
const MAX_STEM_BYTES: usize = 70;
const HASH_HEX: usize = 12;

/// Shortens the stem of a name whose written form is too long: head, `~`, hash of the whole stem.
///
/// The rule looks at the stem alone, so that an image and its CSV shorten to the same stem.
fn shortened(original: &str, write: impl Fn(&str) -> String) -> String {
    let stem = stem_of(original);
    let extension = &original[stem.len()..];
    let whole = write(stem);
    if whole.len() <= MAX_STEM_BYTES {
        return whole + &write(extension);
    }
    let mut head = String::new();
    for c in stem.chars() {
        let next = write(c.encode_utf8(&mut [0; 4]));
        if head.len() + next.len() > MAX_STEM_BYTES - HASH_HEX - 1 {
            break;
        }
        head.push_str(&next);
    }
    format!(
        "{head}~{}{}",
        &sha256_hex(stem.as_bytes())[..HASH_HEX],
        write(extension)
    )
}

/// Lower-case hex of the sha256 of some bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The name under `cache/` of a picture derived from bytes with this sha256 (decision 13).
///
/// It covers the content and the canonical parameters, so it can't go stale.
pub fn cache_name(source_sha256: &str, parameters: &str) -> String {
    sha256_hex(format!("{source_sha256}\n{parameters}").as_bytes())
}

/// An image's number: the first 52 bits of sha256(image key) (decision 19). It fits a double exactly.
pub fn image_number(image_key: &str) -> u64 {
    let hash = Sha256::digest(image_key.as_bytes());
    let head = u64::from_be_bytes(hash[..8].try_into().expect("a sha256 has 32 bytes"));
    head >> 12
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uploads_are_encoded_as_the_predecessor_did() {
        let name = ImageName::of_upload("IMG029x029汉子  @#%.JPG").unwrap();
        assert_eq!(
            name.as_str(),
            "IMG029x029%E6%B1%89%E5%AD%90%20%20%40%23%25.JPG"
        );
        assert_eq!(name.decoded(), "IMG029x029汉子  @#%.JPG");
    }

    #[test]
    fn what_could_leave_a_folder_is_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a\0", "x..y", "\u{7f}"] {
            assert!(ImageName::of_upload(bad).is_err(), "{bad:?}");
            assert!(ImageName::of_hospital(bad).is_err(), "{bad:?}");
            assert!(CaseId::parse(bad).is_err(), "{bad:?}");
        }
        for good in [
            "中文",
            " ",
            "%00",
            "${jndi:test}",
            "1' OR '1'='1",
            "~x",
            "#1",
            ".hidden",
        ] {
            assert!(ImageName::of_upload(good).is_ok(), "{good:?}");
            assert!(CaseId::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn batches_of_the_layout_are_reserved() {
        for bad in RESERVED_BATCHES {
            assert!(matches!(BatchId::parse(bad), Err(IdError::Reserved { .. })));
        }
    }

    #[test]
    fn a_dot_counts_three_bytes_in_a_batch() {
        assert!(BatchId::parse(&"a".repeat(40)).is_ok());
        assert!(
            BatchId::parse(&".a".repeat(11)).is_err(),
            "11 x (3 + 1) bytes"
        );
    }

    #[test]
    fn image_numbers_are_52_bits_of_the_keys_hash() {
        // sha256("") = e3b0c44298fc1c14...
        assert_eq!(image_number(""), 0x000e_3b0c_4429_8fc1);
    }

    #[test]
    fn a_long_image_and_its_csv_share_a_stem() {
        let long = "字".repeat(60);
        let image = ImageName::of_hospital(&format!("{long}.JPG")).unwrap();
        let points = Stem::of_original(&format!("{long}.csv")).unwrap();
        assert_eq!(image.stem(), points);
        let other = ImageName::of_hospital(&format!("{long}b.JPG")).unwrap();
        assert_ne!(image, other);
    }

    proptest! {
        #[test]
        fn any_harmless_name_becomes_a_key_part(text in "[^/\\\\\\p{Cc}]{1,120}") {
            prop_assume!(!text.contains("..") && text != ".");
            for name in [ImageName::of_upload(&text), ImageName::of_hospital(&text)] {
                let name = name.unwrap();
                prop_assert!(name.as_str().len() <= MAX_IMAGE_NAME_BYTES);
                prop_assert_eq!(ImageName::parse(name.as_str()).unwrap(), name);
            }
        }
    }
}
