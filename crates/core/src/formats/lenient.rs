//! Readers for numbers and lists that other programs write in more than one way.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A text or a number, as text; `null` is the empty text.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

/// A number written as a number (`100`, `100.0`) or as a text (`"100"`).
pub(crate) fn number<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = text(deserializer)?;
    parsed(&text).ok_or_else(|| {
        D::Error::custom(format!(
            "`{}` is no number of the kind needed",
            crate::ids::shown(&text)
        ))
    })
}

/// A number as [`number`] reads it, or nothing: `null`, an empty text, or no field where serde's `default` allows it.
pub(crate) fn optional_number<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let found = Option::<Number<T>>::deserialize(deserializer)?;
    Ok(found.and_then(|it| it.0))
}

/// A list of numbers as [`number`] reads them; `null` is the empty list.
pub(crate) fn numbers<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let found = Option::<Vec<Number<T>>>::deserialize(deserializer)?.unwrap_or_default();
    let all: Option<Vec<T>> = found.into_iter().map(|it| it.0).collect();
    all.ok_or_else(|| D::Error::custom("a number in a list is empty"))
}

/// A list; `null` is the empty one, as Go writes a list that nobody made.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A number in any form; nothing for an empty text.
struct Number<T>(Option<T>);

impl<'de, T: FromStr> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let wrong = || {
            D::Error::custom(format!(
                "`{}` is no number of the kind needed",
                crate::ids::shown(&text)
            ))
        };
        parsed(&text).map(|it| Self(Some(it))).ok_or_else(wrong)
    }
}

/// Whole numbers may come as `100.0`, as pandas writes a column with gaps.
fn parsed<T: FromStr>(text: &str) -> Option<T> {
    let text = text.trim();
    let whole = text
        .split_once('.')
        .filter(|(_, fraction)| fraction.bytes().all(|b| b == b'0'));
    text.parse().ok().or_else(|| whole?.0.parse().ok())
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }
}
