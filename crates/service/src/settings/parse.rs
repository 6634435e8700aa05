//! Reading one value after the other, and keeping every problem for the end.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use chrono::FixedOffset;

use super::env::{ENDPOINT, PREFIX, TEST_PREFIX, VARIABLES, Variable};
use crate::redact;

/// The settings are wrong: everything that is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used")?;
        self.problems
            .iter()
            .try_for_each(|it| write!(f, "\n  {it}"))
    }
}

/// One variable that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name.
    pub variable: String,
    /// Its value, without secrets.
    pub value: String,
    /// What was expected instead.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            variable,
            value,
            expected,
        } = self;
        if value.is_empty() {
            return write!(f, "{variable} is not set, expected {expected}");
        }
        write!(f, "{variable} is `{value}`, expected {expected}")
    }
}

/// Reads variables from a map; a value that can't be read becomes a problem, and its default goes on.
pub(super) struct Reader<'a> {
    values: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Variables with our prefix that are none of ours are mistyped: problems from the start.
    pub(super) fn new(values: &'a BTreeMap<String, String>) -> Self {
        let is_unknown = |name: &str| {
            name.starts_with(PREFIX)
                && !name.starts_with(TEST_PREFIX)
                && name != ENDPOINT
                && VARIABLES.iter().all(|it| it.name != name)
        };
        let unknown = values.iter().filter(|(name, _)| is_unknown(name));
        let problems = unknown
            .map(|(name, value)| Problem {
                variable: name.clone(),
                value: redact::url(value),
                expected: "no variable of this name".to_owned(),
            })
            .collect();
        Self { values, problems }
    }

    /// The variable's value or its default. `parse` must take the default.
    pub(super) fn read<T>(&mut self, variable: &Variable, parse: impl Fn(&str) -> Option<T>) -> T {
        if let Some(value) = self.set_value(variable) {
            match parse(value) {
                Some(parsed) => return parsed,
                None => self.refuse(variable, variable.form),
            }
        }
        parse(variable.default).expect("a test reads every default")
    }

    /// The variable's value when it is set; for variables without a default.
    pub(super) fn read_optional<T>(
        &mut self,
        variable: &Variable,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.set_value(variable)?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.refuse(variable, variable.form);
        }
        parsed
    }

    /// Notes that what the variable says, or its default, can't be used.
    pub(super) fn refuse(&mut self, variable: &Variable, expected: impl Into<String>) {
        self.problems.push(Problem {
            variable: variable.name.to_owned(),
            value: redact::url(self.set_value(variable).unwrap_or(variable.default)),
            expected: expected.into(),
        });
    }

    pub(super) fn finish(self) -> Result<(), SettingsError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(SettingsError {
                problems: self.problems,
            })
        }
    }

    /// An empty value is as good as none: container tools can often only empty a variable.
    fn set_value(&self, variable: &Variable) -> Option<&'a str> {
        self.values
            .get(variable.name)
            .map(|it| it.trim())
            .filter(|it| !it.is_empty())
    }
}

pub(super) fn number<T>(allowed: RangeInclusive<T>) -> impl Fn(&str) -> Option<T>
where
    T: std::str::FromStr + PartialOrd,
{
    move |text| text.parse().ok().filter(|it| allowed.contains(it))
}

/// `1048576`, `1024 KiB` or `1MiB`.
pub(super) fn bytes(allowed: RangeInclusive<u64>) -> impl Fn(&str) -> Option<u64> {
    move |text| {
        let digits = text.trim_end_matches(|it: char| !it.is_ascii_digit());
        let unit: u64 = match text[digits.len()..].trim() {
            "" | "B" => 1,
            "KiB" => KIB,
            "MiB" => MIB,
            "GiB" => GIB,
            _ => return None,
        };
        digits
            .parse::<u64>()
            .ok()?
            .checked_mul(unit)
            .filter(|it| allowed.contains(it))
    }
}

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;

/// Whether a home can be opened is for the home to say; here only that it is a URL at all.
pub(super) fn url(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    is_scheme.then(|| text.to_owned())
}

/// `+08:00` or `-03:30`, at most 14 hours as on any map.
pub(super) fn offset(text: &str) -> Option<FixedOffset> {
    const FURTHEST_S: i32 = 14 * 3600;
    let (sign, hours, minutes) = (text.get(..1)?, text.get(1..3)?, text.get(4..)?);
    let is_plain = |it: &str| it.len() == 2 && it.bytes().all(|byte| byte.is_ascii_digit());
    if text.get(3..4)? != ":" || !is_plain(hours) || !is_plain(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = hours * 3600 + minutes * 60;
    if minutes > 59 || seconds > FURTHEST_S {
        return None;
    }
    match sign {
        "+" => FixedOffset::east_opt(seconds),
        "-" => FixedOffset::west_opt(seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let read = bytes(1..=64 * GIB);
        for (text, want) in [
            ("1", 1),
            ("17 B", 17),
            ("256 MiB", 256 * MIB),
            ("2KiB", 2 * KIB),
            ("1 GiB", GIB),
        ] {
            assert_eq!(read(text), Some(want), "{text}");
        }
        for text in [
            "",
            "0",
            "MiB",
            "-1",
            "1.5 MiB",
            "1 MB",
            "1 mib",
            "65 GiB",
            "99999999999 GiB",
            "1 MiB 2",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn offsets_are_hours_and_minutes_east() {
        for (text, seconds) in [
            ("+08:00", 28_800),
            ("-03:30", -12_600),
            ("+00:00", 0),
            ("+14:00", 50_400),
        ] {
            assert_eq!(offset(text).unwrap().local_minus_utc(), seconds, "{text}");
        }
        for text in [
            "", "8", "08:00", "+8:00", "+08", "+0800", "+08:60", "+15:00", "+08:00 ", "UTC",
            "+é:00", "++8:00",
        ] {
            assert_eq!(offset(text), None, "{text}");
        }
    }

    #[test]
    fn urls_have_a_scheme() {
        for good in [
            "file:///data",
            "memory://",
            "s3://bucket/prefix",
            "sqlite:///q",
        ] {
            assert_eq!(url(good).as_deref(), Some(good));
        }
        for bad in ["/data", "data", "://x", "C:\\data", "File:///x"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
