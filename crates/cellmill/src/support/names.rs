//! Taking names out of texts that could say who a patient is: names of images, cases and batches, and what people wrote.
//!
//! Each is replaced by a word made of its hash with a salt that nobody keeps: the same name is the same word all through
//! one bundle, and nobody can find out by trying whose it is. What is not known to be harmless counts as a name.

use std::collections::{BTreeMap, BTreeSet};

use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::{JobKind, ObjectKey};
use serde_json::Value;

use super::secrets::{is_secret, without_secrets};

/// More names than this are not looked for one by one; the rules for keys and quotes hold all the same.
const MAX_KNOWN: usize = 5000;

/// Parts of keys that are the same for everybody.
const PARTS_OF_KEYS: [&str; 14] = [
    "img", "scratch", "csv", "records", "stems", "labels", "types", "review", "Images", "cells",
    "units", "datasets", "projects", "inputs",
];

/// Words that stand in quotes and name nobody.
const WORDS: [&str; 30] = [
    "number",
    "round",
    "rev",
    "id",
    "cellmill",
    "jobs",
    "retry",
    "why",
    "dead",
    "ls",
    "cpu",
    "gpu",
    "legacy",
    "uploads",
    "points",
    "assemble",
    "collect",
    "preannotate",
    "true",
    "false",
    "null",
    "local",
    "log.txt",
    "cellslist.csv",
    "filelist.csv",
    "rows",
    "pack",
    "log",
    "rows.csv",
    "packs",
];

/// Endings of files that people send.
const ENDINGS: [&str; 10] = [
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".csv", ".label",
];

/// Fields whose texts are names.
const FIELDS_OF_NAMES: [&str; 12] = [
    "batch",
    "batches",
    "case",
    "cases",
    "test_cases",
    "batchid",
    "medicalid",
    "imgname",
    "image",
    "images",
    "key",
    "input",
];

/// Fields that people write freely.
const FIELDS_OF_PEOPLE: [&str; 3] = ["description", "title", "original_name"];

const LEFT_OUT: &str = "(left out)";

/// What is hidden, and what is known not to be a name.
#[derive(Debug)]
pub(super) struct Names {
    salt: String,
    /// Nothing but secrets is hidden.
    pub(super) are_shown: bool,
    harmless: BTreeSet<String>,
    /// Names that were met, by their first character, to be found where no rule sees them.
    known: BTreeMap<char, BTreeSet<String>>,
    n_known: usize,
}

impl Names {
    /// `salt`: something that nobody can guess and nobody keeps.
    pub(super) fn new(salt: String, are_shown: bool) -> Self {
        let kinds = JobKind::ALL.map(JobKind::as_str);
        let words = WORDS.into_iter().chain(kinds).chain(PARTS_OF_KEYS);
        Self {
            salt,
            are_shown,
            harmless: words.map(str::to_owned).collect(),
            known: BTreeMap::new(),
            n_known: 0,
        }
    }

    /// This word names no patient: an id of a worker, the directory of a job.
    pub(super) fn allow(&mut self, word: impl Into<String>) {
        self.harmless.insert(word.into());
    }

    /// Learns the names in a key, to find them elsewhere.
    pub(super) fn learn_key(&mut self, key: &str) {
        if let Ok(Some(ObjectKey::Image(image))) = ObjectKey::parse(key) {
            self.learn(&image.original_name());
        }
        // A key of ours holds names of ours only.
        if is_key_of_names(key) || !key.contains('/') {
            key.split('/').for_each(|part| self.learn(part));
        }
    }

    fn learn(&mut self, name: &str) {
        let stem = stem_and_ending(name).0;
        let tells = |it: &str| it.chars().count() > 2 || it.chars().any(|c| !c.is_ascii_digit());
        for name in [name, stem] {
            let Some(first) = name.chars().next() else {
                continue;
            };
            if self.n_known < MAX_KNOWN && tells(name) && !self.is_common(name) {
                let is_new = self.known.entry(first).or_default().insert(name.to_owned());
                self.n_known += usize::from(is_new);
            }
        }
    }

    /// Learns every key in a document.
    pub(super) fn learn_json(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    if is_key_of_names(field) {
                        self.learn_key(field);
                    }
                    if FIELDS_OF_NAMES.contains(&field.as_str()) {
                        texts(value, &mut |it| self.learn_key(it));
                    }
                    self.learn_json(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|it| self.learn_json(it)),
            Value::String(text) if is_key_of_names(text) => self.learn_key(text),
            _ => {}
        }
    }

    /// The document without names and secrets.
    pub(super) fn json(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(field, value)| (self.field(field), self.value_of(field, value)));
                Value::Object(fields.collect())
            }
            Value::Array(items) => items.iter().map(|it| self.json(it)).collect(),
            Value::String(text) if !self.are_shown && is_key_of_names(text) => {
                Value::String(self.key(text))
            }
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    fn field(&self, field: &str) -> String {
        if !self.are_shown && is_key_of_names(field) {
            self.key(field)
        } else {
            without_secrets(field)
        }
    }

    fn value_of(&self, field: &str, value: &Value) -> Value {
        if is_secret(field) && value.is_string() {
            return Value::String("***".to_owned());
        }
        if self.are_shown {
            return self.json(value);
        }
        if FIELDS_OF_PEOPLE.contains(&field) && value.as_str().is_some_and(|it| !it.is_empty()) {
            return Value::String(LEFT_OUT.to_owned());
        }
        if FIELDS_OF_NAMES.contains(&field) {
            let mut value = value.clone();
            texts_mut(&mut value, &mut |it| *it = self.key(it));
            return value;
        }
        self.json(value)
    }

    /// A key with its names replaced; the ending stays.
    pub(super) fn key(&self, key: &str) -> String {
        if self.are_shown {
            return key.to_owned();
        }
        let is_ours = key.contains('/') && !is_key_of_names(key);
        let parts = key.split('/').map(|part| {
            let is_kept = part.is_empty()
                || PARTS_OF_KEYS.contains(&part)
                || is_replaced(part)
                || (is_ours && self.is_harmless(part));
            if is_kept {
                part.to_owned()
            } else {
                self.word(part)
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    fn word(&self, name: &str) -> String {
        let (stem, ending) = stem_and_ending(name);
        let hash = sha256_hex(format!("{}{stem}", self.salt).as_bytes());
        format!("name-{}{ending}", &hash[..8])
    }

    /// Says nothing of a patient, wherever it stands.
    fn is_common(&self, part: &str) -> bool {
        let is_unit = || {
            let (kind, number) = part.split_once('-')?;
            JobKind::parse(kind)?;
            number.parse::<u32>().ok()
        };
        let of_kind = part.strip_suffix(".json").and_then(JobKind::parse);
        self.harmless.contains(part)
            || is_unit().is_some()
            || of_kind.is_some()
            || is_replaced(part)
            || is_variable(part)
    }

    /// Says nothing of a patient outside of keys: there a number may be a case.
    fn is_harmless(&self, part: &str) -> bool {
        self.is_common(part) || is_small_number(part)
    }

    /// Free text without names and secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let text = without_secrets(text);
        if self.are_shown {
            return text;
        }
        let text = self.without_known(&text);
        let lines = text.split('\n').map(|line| self.line(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What stands in quotes, then what looks like a key or a file.
    fn line(&self, line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(['`', '"']) {
            let quote = &rest[at..=at];
            out.push_str(&self.words(&rest[..at]));
            out.push_str(quote);
            let inside = &rest[at + 1..];
            let end = inside.find(quote).unwrap_or(inside.len());
            out.push_str(&self.quoted(&inside[..end]));
            rest = &inside[end..];
            if let Some(behind) = rest.strip_prefix(quote) {
                out.push_str(quote);
                rest = behind;
            }
        }
        out.push_str(&self.words(rest));
        out
    }

    /// Harmless only if every word of it is.
    fn quoted(&self, inside: &str) -> String {
        let mut words = inside.split(['/', ' ', ',']);
        let is_harmless =
            !is_key_of_names(inside) && words.all(|it| it.is_empty() || self.is_harmless(it));
        if is_harmless {
            inside.to_owned()
        } else {
            self.key(inside)
        }
    }

    /// Text outside of quotes. A key may hold blanks: it goes on to the last ending of a file before a colon.
    fn words(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| !c.is_whitespace()) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let word = &rest[..end];
            let end = if is_key_of_names(word) || word.contains("/Images/") {
                end.max(end_of_key(rest))
            } else {
                end
            };
            out.push_str(&self.bare(&rest[..end]));
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }

    /// One word, or one key, with what stands around it.
    fn bare(&self, word: &str) -> String {
        let is_around = |c: char| matches!(c, ',' | ';' | ':' | '(' | ')' | '[' | ']' | '.');
        let inner = word.trim_matches(is_around);
        let lower = inner.to_lowercase();
        let is_name = inner.contains('/') || ENDINGS.iter().any(|it| lower.ends_with(it));
        if !is_name || self.quoted(inner) == inner {
            return word.to_owned();
        }
        word.replacen(inner, &self.key(inner), 1)
    }

    /// Replaces names that were met elsewhere, the longest first, where a word begins and ends.
    fn without_known(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut last = None;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if !last.is_some_and(is_of_word)
                && let Some(name) = self.known_at(c, rest)
            {
                out.push_str(&self.word(name));
                last = name.chars().last();
                rest = &rest[name.len()..];
                continue;
            }
            out.push(c);
            last = Some(c);
            rest = &rest[c.len_utf8()..];
        }
        out
    }

    fn known_at(&self, first: char, text: &str) -> Option<&str> {
        let names = self.known.get(&first)?.iter();
        let here = names.filter(|it| !self.is_common(it)).filter(|it| {
            text.strip_prefix(it.as_str())
                .is_some_and(|behind| !behind.chars().next().is_some_and(is_of_word))
        });
        here.max_by_key(|it| it.len()).map(String::as_str)
    }
}

/// Is this a word that stands for a name already?
fn is_replaced(part: &str) -> bool {
    let hash = stem_and_ending(part).0.strip_prefix("name-");
    hash.is_some_and(|it| it.len() == 8 && it.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// A count, a share, an attempt; a longer one may be the number of a case.
fn is_small_number(part: &str) -> bool {
    let is_of_number = |c: u8| c.is_ascii_digit() || matches!(c, b'.' | b'%' | b'+');
    (1..=5).contains(&part.len()) && part.bytes().all(is_of_number)
}

/// The name of a setting.
fn is_variable(part: &str) -> bool {
    let name = part.strip_prefix("CELLMILL_");
    name.is_some_and(|it| it.bytes().all(|c| c.is_ascii_uppercase() || c == b'_'))
}

/// Scripts without blanks have no ends of words.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

/// Where a key with blanks ends: behind the last ending of a file before `: ` or a comma.
fn end_of_key(text: &str) -> usize {
    let stop = [": ", ", ", "; "].iter().filter_map(|it| text.find(it));
    let until = &text[..stop.min().unwrap_or(text.len())];
    let lower = until.to_ascii_lowercase();
    let ends = ENDINGS
        .iter()
        .filter_map(|it| Some(lower.rfind(it)? + it.len()));
    ends.max().unwrap_or(0)
}

/// Is this the key of something that people sent?
fn is_key_of_names(text: &str) -> bool {
    let mut parts = text.split('/');
    let is_root = matches!(
        parts.next(),
        Some("img" | "scratch" | "csv" | "records" | "labels" | "review" | "masks")
    );
    is_root && parts.next().is_some()
}

fn stem_and_ending(name: &str) -> (&str, &str) {
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS
        .iter()
        .chain(&[".json"])
        .find(|it| lower.ends_with(**it));
    ending.map_or((name, ""), |it| name.split_at(name.len() - it.len()))
}

fn texts(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|it| texts(it, each)),
        _ => {}
    }
}

fn texts_mut(value: &mut Value, each: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter_mut().for_each(|it| texts_mut(it, each)),
        Value::Object(fields) => fields.values_mut().for_each(|it| texts_mut(it, each)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        let mut names = Names::new("salt".to_owned(), false);
        names.allow("DkxD9Kjl");
        names.allow("worker-1");
        names
    }

    #[test]
    fn what_tells_of_a_patient_is_gone_and_what_tells_of_work_stays() {
        let mut names = names();
        names.learn_key("img/Zhang Lab/ZhangSan/Images/Zhang San 1961.png");
        for text in [
            "img/Zhang Lab/ZhangSan/Images/Zhang San 1961.png: 5 cells",
            "left out img/x/y/Images/Zhang Wu.png: no label",
            "image `Zhang Wu` is truncated",
            "no usable image in batches `Zhang Lab`",
            "read \"Zhang Wu.tif\"",
            "ZhangWu.JPG is 41000 pixels wide",
            "image `name-Zhang` is truncated",
            "of ZhangSan, Zhang San 1961, and Zhang Lab",
        ] {
            let shown = names.text(text);
            assert!(!shown.contains("Zhang"), "{text} is shown as {shown}");
            assert!(shown.contains("name-"), "{shown}");
        }
        for text in [
            "unit `DkxD9Kjl/data-00003` attempt 1 on worker-1",
            "assembled into 2 units",
            "`cellmill jobs retry` does its failed units again",
            "12/20 done in 3.5 s",
        ] {
            assert_eq!(names.text(text), text);
        }
    }

    #[test]
    fn a_number_may_be_a_case() {
        let mut names = names();
        let key = "img/20190523/18133/Images/1.png";
        let shown = names.key(key);
        assert!(
            !shown.contains("18133") && !shown.contains("2019"),
            "{shown}"
        );
        assert_eq!(
            names
                .text("of `20190523` and 3 of 18133 cells")
                .matches("name-")
                .count(),
            1
        );
        names.learn_json(&json!({"parameters": {"cases": ["18133"], "batches": ["20190523"]}}));
        let shown =
            names.text("of `20190523` and case 18133, `units/DkxD9Kjl/data-00000` of 20190524");
        assert_eq!(shown.matches("name-").count(), 2, "{shown}");
        assert!(
            shown.ends_with("`units/DkxD9Kjl/data-00000` of 20190524"),
            "{shown}"
        );
        let record = json!({"key": "units/DkxD9Kjl/data-00000/00001/log.txt"});
        names.learn_json(&record);
        assert_eq!(names.json(&record), record);
    }

    #[test]
    fn one_name_is_one_word_with_and_without_its_ending() {
        let names = names();
        let key = names.key("img/b/c/Images/Zhang.PNG");
        assert!(
            key.starts_with("img/name-") && stem_and_ending(&key).1 == ".PNG",
            "{key}"
        );
        let word = names.word("Zhang");
        assert!(key.contains(&word), "{key}");
        assert_ne!(word, Names::new("other".to_owned(), false).word("Zhang"));
    }

    #[test]
    fn documents_lose_names_descriptions_and_secrets() {
        let names = names();
        let document = json!({
            "dir": "DkxD9Kjl", "description": "slides of Zhang", "token": "Zhang",
            "parameters": {"batches": ["Zhang"], "cases": []},
            "rejected": [{"key": "img/Zhang/c/Images/Zhang.png", "reason": "`Zhang` is cut"}],
            "labels/img/Zhang/x": 1, "percent": 40, "owner": "worker-1",
        });
        let shown = names.json(&document);
        assert!(!shown.to_string().contains("Zhang"), "{shown}");
        assert_eq!(shown["dir"], "DkxD9Kjl");
        assert_eq!(
            (&shown["percent"], &shown["owner"]),
            (&json!(40), &json!("worker-1"))
        );
        let mut with_names = Names::new("salt".to_owned(), true);
        with_names.allow("x");
        let shown = with_names.json(&document);
        assert_eq!(shown["description"], "slides of Zhang");
        assert_eq!(shown["token"], "***");
    }
}
