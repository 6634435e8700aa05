//! What goes into the bundle: gathered first, then freed of names and secrets, then cut to its size.

use std::collections::BTreeMap;

use cellmill_vision::pack::write_pack;
use serde::Serialize;
use serde_json::{Value, json};

use super::names::Names;
use crate::cli::Error;

/// One file of the bundle: more than this nobody reads, and a mail takes the whole.
const MAX_FILE: usize = 2 << 20;
/// All of them together.
const MAX_TOTAL: usize = 24 << 20;

/// What was gathered, as it is. It is shown to nobody.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) names: Names,
    files: BTreeMap<String, (Raw, &'static str)>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug)]
pub(super) enum Raw {
    Json(Value),
    /// Free text: every name is looked for.
    Text(String),
    /// Text of our own that holds no names: only secrets are looked for.
    Plain(String),
}

/// What is not in the bundle, and why.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LeftOut {
    pub(super) what: String,
    pub(super) why: String,
}

/// One file of the bundle, for the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: usize,
    pub(super) what: &'static str,
}

/// The bundle and what is to be said of it.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) zip: Vec<u8>,
    pub(super) files: Vec<Entry>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Material {
    pub(super) fn new(names: Names) -> Self {
        let left_out = [
            ("images, labels, points, models", "they are data, not state"),
            ("tokens, passwords, signed addresses", "they open doors"),
        ];
        let mut material = Self {
            names,
            files: BTreeMap::new(),
            left_out: Vec::new(),
        };
        for (what, why) in left_out {
            material.leave_out(what, why);
        }
        if !material.names.are_shown {
            material.leave_out(
                "names of images, cases and batches, descriptions",
                "they could say who a patient is: each is a word such as name-1f2e3d4c; --with-names leaves them",
            );
        }
        material
    }

    pub(super) fn json(&mut self, name: impl Into<String>, what: &'static str, value: Value) {
        self.names.learn_json(&value);
        self.files.insert(name.into(), (Raw::Json(value), what));
    }

    pub(super) fn text(&mut self, name: impl Into<String>, what: &'static str, text: Raw) {
        self.files.insert(name.into(), (text, what));
    }

    pub(super) fn leave_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            what: what.into(),
            why: why.into(),
        });
    }

    /// Adds a document, or that it could not be had.
    pub(super) fn answer<T: Serialize, E: std::error::Error + 'static>(
        &mut self,
        name: &str,
        what: &'static str,
        answer: Result<T, E>,
    ) -> Option<T> {
        match answer {
            Ok(value) => {
                let json = serde_json::to_value(&value).unwrap_or_default();
                self.json(name, what, json);
                Some(value)
            }
            Err(error) => {
                self.leave_out(name, cellmill_service::report(&error));
                None
            }
        }
    }

    /// Frees everything of names and secrets, and packs it. Whatever names were met in one file are hidden in all.
    pub(super) fn pack(self) -> Result<Bundle, Error> {
        let Self {
            names,
            files,
            mut left_out,
        } = self;
        let mut entries: Vec<(String, String)> = Vec::new();
        let mut table = Vec::new();
        let mut total = 0;
        for (name, (raw, what)) in files {
            let text = match raw {
                Raw::Json(value) => {
                    serde_json::to_string_pretty(&names.json(&value)).unwrap_or_default() + "\n"
                }
                Raw::Text(text) => names.text(&text),
                Raw::Plain(text) => super::secrets::without_secrets(&text),
            };
            if text.len() > MAX_FILE || total + text.len() > MAX_TOTAL {
                let why = format!(
                    "it has {} bytes; a file may have {MAX_FILE}, all together {MAX_TOTAL}",
                    text.len()
                );
                left_out.push(LeftOut { what: name, why });
                continue;
            }
            total += text.len();
            table.push(Entry {
                name: name.clone(),
                bytes: text.len(),
                what,
            });
            entries.push((name, text));
        }
        for it in &mut left_out {
            it.what = names.text(&it.what);
            it.why = names.text(&it.why);
        }
        let contents = json!({ "files": table, "left_out": left_out });
        let contents = serde_json::to_string_pretty(&contents).unwrap_or_default() + "\n";
        entries.push(("contents.json".to_owned(), contents));
        let zip = write_pack(entries).map_err(Error::inner("pack the bundle"))?;
        Ok(Bundle {
            zip,
            files: table,
            left_out,
        })
    }
}
