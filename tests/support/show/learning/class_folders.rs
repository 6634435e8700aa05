//! A folder with one folder for each class, and its list of classes, read naively.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::show::data::files_below;
use crate::show::http::{sha256_hex, text};
use anyhow::{Context as _, Result, ensure};

use super::projects::{id, json};

/// `<part>/<class>/<image>` with classes.json.
#[derive(Debug)]
pub struct ClassFolders {
    pub path: PathBuf,
    pub images: Vec<ClassImage>,
    /// Class ids that mean nothing bad, and those that do.
    pub negative: Vec<u32>,
    pub positive: Vec<u32>,
}

/// One image.
#[derive(Clone, Debug)]
pub struct ClassImage {
    pub path: PathBuf,
    pub sha256: String,
    /// The folder above the class: `train`, `val`, ...
    pub part: String,
    pub class: u32,
}

impl ClassFolders {
    pub fn read(path: &Path) -> Result<Self> {
        let table = json(&path.join("classes.json"))?;
        let ids: BTreeMap<String, u32> = table["ids"]
            .as_object()
            .context("classes.json has no ids")?
            .iter()
            .filter_map(|(name, it)| Some((name.clone(), id(it)?)))
            .collect();
        let mut images = Vec::new();
        for (key, file) in files_below(path)? {
            let [part, class, _] = key.split('/').collect::<Vec<_>>()[..] else {
                continue;
            };
            let class = *ids.get(class).with_context(|| format!("class of {key}"))?;
            let bytes = fs::read(&file).with_context(|| key.clone())?;
            images.push(ClassImage {
                path: file,
                sha256: sha256_hex(&bytes),
                part: part.to_owned(),
                class,
            });
        }
        ensure!(!images.is_empty(), "{} has no images", path.display());
        let listed = |name: &str| -> Vec<u32> {
            let ids = table[name].as_array().into_iter().flatten();
            ids.filter_map(id).collect()
        };
        Ok(Self {
            path: path.to_owned(),
            images,
            negative: listed("negative"),
            positive: listed("positive"),
        })
    }

    /// Images by part and class.
    pub fn counts(&self) -> BTreeMap<(String, u32), usize> {
        let mut counts = BTreeMap::new();
        for it in &self.images {
            *counts.entry((told_part(&it.part), it.class)).or_default() += 1;
        }
        counts
    }

    /// As `train` takes it: `negative=..,positive=..`.
    pub fn merge(&self) -> String {
        let list = |ids: &[u32]| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ids.join(",")
        };
        format!(
            "negative={},positive={}",
            list(&self.negative),
            list(&self.positive)
        )
    }

    /// Some images of these classes, spread over the whole.
    pub fn some(&self, classes: &[u32], n: usize) -> Result<Vec<&ClassImage>> {
        let all: Vec<_> = self
            .images
            .iter()
            .filter(|it| classes.contains(&it.class))
            .collect();
        ensure!(all.len() >= n, "{} images are too few", all.len());
        Ok((0..n).map(|at| all[at * all.len() / n]).collect())
    }
}

/// A part as the program tells it.
pub fn told_part(folder: &str) -> String {
    match folder {
        "val" => "validation".to_owned(),
        other => other.to_owned(),
    }
}

/// The part that an image view tells; empty when none.
pub fn part_of(view: &serde_json::Value) -> String {
    text(&view["part"])
}
