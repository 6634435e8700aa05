//! Names of queues.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::Error;

const DEAD_SUFFIX: &str = "-dead";

/// The longest name that SQS takes.
const MAX_LEN: usize = 80;

/// The name of a queue: 1 to 80 of `a-z`, `0-9` and `-`.
///
/// A name that ends in `-dead` is the dead-letter queue of the name before it, so every other name is at most
/// 75 long: its dead-letter queue must have a name too.
///
/// ```
/// use cellmill_queue::QueueName;
/// const URGENT: QueueName = QueueName::from_static("units-cpu-urgent");
/// assert_eq!(URGENT.dead_letters().as_str(), "units-cpu-urgent-dead");
/// assert!(QueueName::parse("Units").is_err());
/// assert!(QueueName::parse("").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Cow<'static, str>);

impl QueueName {
    /// Checks `name`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        if is_valid(name.as_bytes()) {
            Ok(Self(Cow::Owned(name.to_owned())))
        } else {
            Err(Error::Name {
                name: name.to_owned(),
            })
        }
    }

    /// A name known when compiling.
    ///
    /// # Panics
    /// When `name` is not valid; in a constant that is a compile error.
    pub const fn from_static(name: &'static str) -> Self {
        assert!(
            is_valid(name.as_bytes()),
            "a queue name is 1 to 80 of a-z, 0-9 and -"
        );
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this names a dead-letter queue.
    pub fn is_dead_letters(&self) -> bool {
        self.0.ends_with(DEAD_SUFFIX)
    }

    /// The queue that takes the messages which were received too often; a dead-letter queue is its own.
    #[must_use]
    pub fn dead_letters(&self) -> Self {
        if self.is_dead_letters() {
            self.clone()
        } else {
            Self(Cow::Owned(format!("{}{DEAD_SUFFIX}", self.0)))
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::parse(name)
    }
}

const fn is_valid(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'-') {
            return false;
        }
        at += 1;
    }
    match name.split_last_chunk() {
        Some((stem, b"-dead")) => !stem.is_empty() && name.len() <= MAX_LEN,
        _ => !name.is_empty() && name.len() <= MAX_LEN - DEAD_SUFFIX.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lowercase_and_plain() {
        let long = "a".repeat(75);
        for good in [
            "a",
            "uploads",
            "units-a100-urgent",
            "uploads-dead",
            &long,
            &format!("{long}-dead"),
        ] {
            assert_eq!(QueueName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(76);
        for bad in [
            "",
            "-dead",
            "Uploads",
            "a b",
            "a_b",
            "a/b",
            "é",
            &too_long,
            &format!("{too_long}-dead"),
        ] {
            assert!(QueueName::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn every_queue_has_exactly_one_dead_letter_queue() {
        let dead = QueueName::from_static("points").dead_letters();
        assert_eq!(dead.as_str(), "points-dead");
        assert_eq!(dead.dead_letters(), dead);
    }
}
