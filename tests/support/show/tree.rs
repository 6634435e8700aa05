//! What lies below a root, in a form that two runs can be compared by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::data::files_below;
use super::http::sha256_hex;
use super::wait::wait_until;

/// What a run leaves behind beside its results: never compared.
const LEFT_OUT: [&str; 5] = [".cellmill/", "units/", "workers/", "audit/", "uploads/"];

/// The fields that tell of a run and not of its result: when, how often, under which stamp of the file system.
/// Everything else in a record or label must be equal.
pub const RUN_FIELDS: [&str; 9] = [
    "rev",
    "write",
    "etag",
    "received_at",
    "recorded_at",
    "at",
    "times",
    "history",
    "label_rev",
];

/// As [`RUN_FIELDS`], between two homes: who asked is another one behind each door.
pub const HOME_FIELDS: [&str; 10] = [
    "rev",
    "write",
    "etag",
    "received_at",
    "recorded_at",
    "at",
    "times",
    "history",
    "label_rev",
    "by",
];

/// The content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// Compared byte by byte: sha256.
    Bytes(String),
    /// A document without [`RUN_FIELDS`].
    Document(Value),
}

/// Every compared file of a root, by its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Content>);

impl Tree {
    /// All files byte by byte: for runs that must not have changed anything.
    pub fn exact(root: &Path) -> Result<Self> {
        Self::read(root, |_| false, &[])
    }

    /// Results byte by byte, records and labels without [`RUN_FIELDS`]; logs are left out.
    pub fn of_results(root: &Path) -> Result<Self> {
        Self::results(root, &RUN_FIELDS)
    }

    /// As [`Tree::of_results`], to be compared with another home: documents without [`HOME_FIELDS`].
    pub fn of_home(root: &Path) -> Result<Self> {
        Self::results(root, &HOME_FIELDS)
    }

    fn results(root: &Path, left_out: &[&str]) -> Result<Self> {
        let mut tree = Self::read(root, is_record, left_out)?;
        tree.0.retain(|key, _| !key.ends_with("/log.txt"));
        Ok(tree)
    }

    /// The tree when it has stopped changing for a second.
    pub async fn still(
        root: &Path,
        read: fn(&Path) -> Result<Self>,
        limit: Duration,
    ) -> Result<Self> {
        let mut last = read(root)?;
        let pause = Duration::from_secs(1);
        tokio::time::sleep(pause).await;
        wait_until("the tree is still", limit, pause, async || {
            let now = read(root)?;
            let is_still = now == last;
            last = now;
            Ok(is_still.then(|| last.clone()))
        })
        .await
    }

    fn read(root: &Path, is_document: impl Fn(&str) -> bool, left_out: &[&str]) -> Result<Self> {
        let mut tree = BTreeMap::new();
        for (key, path) in files_below(root)? {
            if LEFT_OUT.iter().any(|it| key.starts_with(it)) {
                continue;
            }
            let bytes = fs::read(&path).with_context(|| format!("read {key}"))?;
            let content = if is_document(&key) {
                let mut document =
                    serde_json::from_slice(&bytes).with_context(|| format!("{key} is no JSON"))?;
                strip(&mut document, left_out);
                Content::Document(document)
            } else {
                Content::Bytes(sha256_hex(&bytes))
            };
            tree.insert(key, content);
        }
        Ok(Self(tree))
    }

    pub fn n_files(&self) -> usize {
        self.0.len()
    }

    /// The keys whose files differ or are missing on one side.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differs = |key: &&&String| self.0.get(**key) != other.0.get(**key);
        keys.iter()
            .filter(differs)
            .map(|key| self.told(other, key))
            .collect()
    }

    fn told(&self, other: &Self, key: &str) -> String {
        match (self.0.get(key), other.0.get(key)) {
            (Some(_), None) => format!("{key} is missing"),
            (None, Some(_)) => format!("{key} is new"),
            (Some(Content::Document(a)), Some(Content::Document(b))) => {
                format!("{key}: {}", first_difference(a, b, ""))
            }
            _ => format!("{key} has other bytes"),
        }
    }
}

/// Documents that are swapped, or tell when they were written. The other JSON files are results or frozen inputs.
fn is_record(key: &str) -> bool {
    let is_document = matches!(key.rsplit('.').next(), Some("json" | "label"));
    let is_result = key.starts_with("datasets/") || key.starts_with("projects/");
    let jobs = ["data.json", "train.json", "predict.json", "snapshot.json"];
    let is_swapped = jobs.iter().any(|it| key.ends_with(&format!("/{it}")));
    is_document && (!is_result || is_swapped || key.contains("/inputs/"))
}

fn strip(value: &mut Value, left_out: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !left_out.contains(&name.as_str()));
            fields.values_mut().for_each(|it| strip(it, left_out));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| strip(it, left_out)),
        _ => {}
    }
}

fn first_difference(a: &Value, b: &Value, path: &str) -> String {
    if let (Value::Object(a), Value::Object(b)) = (a, b) {
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for name in names {
            let (a, b) = (&a.get(name), &b.get(name));
            if a != b {
                let null = Value::Null;
                return first_difference(
                    a.unwrap_or(&null),
                    b.unwrap_or(&null),
                    &format!("{path}/{name}"),
                );
            }
        }
    }
    let short = |it: &Value| it.to_string().chars().take(120).collect::<String>();
    format!("{path} was {}, is {}", short(a), short(b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_compared_without_what_tells_of_the_run() {
        let mut a = json!({"rev": 1, "state": "ok", "parts": [{"at": "now", "n": 1}]});
        strip(&mut a, &RUN_FIELDS);
        assert_eq!(a, json!({"state": "ok", "parts": [{"n": 1}]}));
    }

    #[test]
    fn results_are_no_records() {
        assert!(is_record("records/img/a/b/Images/c.jpg.json"));
        assert!(is_record("datasets/D/data.json"));
        assert!(is_record("projects/D/train.json"));
        assert!(!is_record("projects/D/predict2.json"));
        assert!(!is_record("datasets/D/info.json"));
        assert!(!is_record("datasets/D/packs/00000-0123456789abcdef.zip"));
    }

    #[test]
    fn a_missing_and_a_changed_file_are_both_told() {
        let tree = |files: &[(&str, &str)]| {
            let content = |it: &str| Content::Bytes(it.to_owned());
            Tree(
                files
                    .iter()
                    .map(|(key, it)| ((*key).to_owned(), content(it)))
                    .collect(),
            )
        };
        let differences = tree(&[("a", "1"), ("b", "1")]).differences(&tree(&[("b", "2")]));
        assert_eq!(differences, ["a is missing", "b has other bytes"]);
    }
}
