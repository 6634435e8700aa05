//! The settings as they may be shown to anybody.

use std::collections::BTreeMap;

use super::env::{ENDPOINT, PREFIX, VARIABLES};
use super::resolve::environment;
use crate::redact;

/// As [`shown`], of the environment of this process.
pub fn shown_env() -> BTreeMap<String, String> {
    shown(&environment())
}

/// Every variable with its value or default, without secrets. Of those with our prefix that are none of ours only the
/// name is shown: they may be anything.
pub fn shown(values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let known = VARIABLES.iter().map(|it| {
        let set = values.get(it.name).filter(|it| !it.trim().is_empty());
        let value = match set {
            Some(value) => redact::url(value),
            None => format!("{} (default)", it.default).trim().to_owned(),
        };
        (it.name.to_owned(), value)
    });
    let is_other = |name: &&String| {
        name.starts_with(PREFIX) && VARIABLES.iter().all(|it| it.name != name.as_str())
    };
    let others = values.keys().filter(is_other).map(|name| {
        let value = if name == ENDPOINT {
            redact::url(&values[name])
        } else {
            "(set, not shown)".to_owned()
        };
        (name.clone(), value)
    });
    known.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_without_secrets_and_unknown_ones_not_at_all() {
        let given = [
            ("CELLMILL_STORE", "s3://me:s3cret@bucket"),
            ("CELLMILL_ENDPOINT", "http://h?token=s3cret"),
            ("CELLMILL_PASSWORD", "s3cret"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shown = shown(&given.into());
        assert_eq!(shown["CELLMILL_STORE"], "s3://bucket");
        assert_eq!(shown["CELLMILL_LEASE_S"], "50 (default)");
        assert_eq!(shown["CELLMILL_PASSWORD"], "(set, not shown)");
        assert!(!format!("{shown:?}").contains("s3cret"), "{shown:?}");
        assert!(!shown.contains_key("AWS_SECRET_ACCESS_KEY"));
    }
}
