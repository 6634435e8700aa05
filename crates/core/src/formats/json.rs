//! JSON in the indentation of its legacy writer, and lists too long for memory inside it.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// How a legacy writer indents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indent {
    /// One blank: files that the Go backend writes (`info.json`).
    One,
    /// Two blanks: files that Python workers write (all others).
    Two,
}

/// A value as indented JSON, non-ASCII text as it is, without a line end at the end.
pub fn to_json<T: Serialize>(value: &T, indent: Indent) -> Vec<u8> {
    let blanks: &[u8] = match indent {
        Indent::One => b" ",
        Indent::Two => b"  ",
    };
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(blanks);
    value
        .serialize(&mut Serializer::with_formatter(&mut out, formatter))
        .expect("the types of this module hold nothing that JSON can't");
    out
}

/// Writes a document one of whose lists does not fit in memory: `cells_crop` of info2.json, `crop_cells` of
/// predict2.json.
///
/// ```
/// use cellmill_core::formats::ListStream;
/// let document = serde_json::json!({ "crop_cells": [], "id": 7 });
/// let mut out = Vec::new();
/// let mut stream = ListStream::begin(&document, "crop_cells", &mut out).unwrap();
/// stream.item(&1, &mut out);
/// stream.item(&2, &mut out); // `out` may be sent away and cleared between items
/// stream.end(&mut out);
/// assert_eq!(out, b"{\n  \"crop_cells\": [\n    1,\n    2\n  ],\n  \"id\": 7\n}");
/// ```
#[derive(Debug)]
pub struct ListStream {
    /// What stands after the list.
    tail: Vec<u8>,
    is_empty: bool,
}

impl ListStream {
    /// Writes the document, indented by two, up to the list `key`, which must be an empty list at its top level; else
    /// `None`, and nothing is written.
    pub fn begin<T: Serialize>(document: &T, key: &str, out: &mut Vec<u8>) -> Option<Self> {
        let whole = to_json(document, Indent::Two);
        // A line end inside a text is escaped, so this stands at the top level or nowhere.
        let mark = format!("\n  {}: []", serde_json::Value::from(key)).into_bytes();
        let at = whole.windows(mark.len()).position(|it| it == mark)? + mark.len() - 1;
        out.extend(&whole[..at]);
        Some(Self {
            tail: whole[at..].to_vec(),
            is_empty: true,
        })
    }

    /// Writes one more item.
    pub fn item<T: Serialize>(&mut self, item: &T, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_empty { b"\n    " } else { b",\n    " });
        self.is_empty = false;
        for byte in to_json(item, Indent::Two) {
            out.push(byte);
            if byte == b'\n' {
                out.extend_from_slice(b"    ");
            }
        }
    }

    /// Writes what stands after the list.
    pub fn end(self, out: &mut Vec<u8>) {
        if !self.is_empty {
            out.extend_from_slice(b"\n  ");
        }
        out.extend(self.tail);
    }
}
