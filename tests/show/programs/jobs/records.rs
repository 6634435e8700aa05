//! Jobs and units as their records tell, read naively and without a word to the programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// The document at a path; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Value>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is torn", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// The record of a job of the kind `data`, `train` or `predict`.
pub(crate) fn job_path(root: &Path, kind: &str, dir: &str) -> PathBuf {
    let folder = if kind == "data" {
        "datasets"
    } else {
        "projects"
    };
    root.join(folder).join(dir).join(format!("{kind}.json"))
}

pub(crate) fn unit_path(root: &Path, kind: &str, dir: &str, unit: u32) -> PathBuf {
    let folder = root.join("units").join(dir);
    folder.join(format!("{kind}-{unit:05}.json"))
}

/// The paths of a job's unit records by their names, such as `data-00003`.
pub(crate) fn unit_paths(root: &Path, dir: &str) -> Result<BTreeMap<String, PathBuf>> {
    let folder = root.join("units").join(dir);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", folder.display())),
    };
    let mut paths = BTreeMap::new();
    for entry in entries {
        let path = entry.context("a unit")?.path();
        let name = path.file_name().and_then(|it| it.to_str());
        // What is being written has another name until it is whole.
        let name = name.and_then(|it| it.strip_suffix(".json"));
        if let Some(name) = name.filter(|it| is_unit(it)) {
            paths.insert(name.to_owned(), path);
        }
    }
    Ok(paths)
}

fn is_unit(name: &str) -> bool {
    let number = name.rsplit_once('-').map_or("", |(_, it)| it);
    number.len() == 5 && number.bytes().all(|it| it.is_ascii_digit())
}

pub(crate) fn state(record: &Value) -> &str {
    record["state"].as_str().unwrap_or_default()
}

pub(crate) fn number(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap_or(0)
}

pub(crate) fn owner(record: &Value) -> &str {
    record["owner"].as_str().unwrap_or_default()
}

pub(crate) fn attempts(unit: &Value) -> &[Value] {
    unit["attempts"].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn outputs(unit: &Value) -> &[Value] {
    unit["outputs"].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn has_ended(record: &Value) -> bool {
    matches!(state(record), "done" | "failed" | "cancelled")
}

/// A time that a record tells.
pub(crate) fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

/// When a document was last written.
pub(crate) fn written(path: &Path) -> Result<DateTime<Utc>> {
    let metadata = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
    Ok(metadata.modified().context("a time of the disk")?.into())
}

/// Seconds from one time to a later one.
pub(crate) fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
}
