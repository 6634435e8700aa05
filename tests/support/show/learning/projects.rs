//! The files that a training and a prediction leave, read naively.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::show::table;

use super::scores::Scores;

/// What a training left: `projects/<dir>/` and its model.
#[derive(Clone, Debug)]
pub struct Trained {
    pub mid: u64,
    /// The card beside the model file.
    pub card: Value,
    /// The model file.
    pub model: Vec<u8>,
    pub cells: Vec<SplitCell>,
}

/// A row of split.csv.
#[derive(Clone, Debug)]
pub struct SplitCell {
    /// The image's key.
    pub image: String,
    pub class: u32,
    /// `train`, `validation` or `test`.
    pub part: String,
    pub predicted: u32,
}

impl Trained {
    pub fn read(root: &Path, dir: &str) -> Result<Self> {
        let folder = root.join("projects").join(dir);
        let result = json(&folder.join("mod.json"))?;
        let mid = result["mid"].as_u64().context("mod.json names no model")?;
        let model = model_path(root, mid);
        let card = json(&model.with_extension("safetensors.json"))?;
        let split = fs::read_to_string(folder.join("split.csv")).context("read split.csv")?;
        let rows = table::rows(&split);
        Ok(Self {
            mid,
            card,
            model: fs::read(&model).with_context(|| format!("read {}", model.display()))?,
            cells: rows.iter().map(split_cell).collect::<Result<_>>()?,
        })
    }

    /// The classes of the model, in the order of its outputs.
    pub fn classes(&self) -> Vec<u32> {
        let listed = self.card["classes"].as_array().into_iter().flatten();
        listed.filter_map(|it| id(&it["id"])).collect()
    }

    /// What was predicted of the cells of one part.
    pub fn scores(&self, part: &str) -> Scores {
        let cells = self.cells.iter().filter(|it| it.part == part);
        Scores::of(cells.map(|it| (it.class, it.predicted)))
    }

    /// How many cells each part has.
    pub fn parts(&self) -> BTreeMap<&str, usize> {
        let mut parts = BTreeMap::new();
        for cell in &self.cells {
            *parts.entry(cell.part.as_str()).or_default() += 1;
        }
        parts
    }

    /// A figure of the card, such as `test.accuracy`; NaN when it has none.
    pub fn figure(&self, part: &str, name: &str) -> f64 {
        self.card[part][name].as_f64().unwrap_or(f64::NAN)
    }
}

fn split_cell(row: &std::collections::HashMap<String, String>) -> Result<SplitCell> {
    let field = |name: &str| {
        let field = row.get(name);
        field.with_context(|| format!("split.csv has no column {name}"))
    };
    let number = |name: &str| -> Result<u32> {
        let text = field(name)?;
        text.parse().with_context(|| format!("{name} is `{text}`"))
    };
    Ok(SplitCell {
        image: field("image")?.clone(),
        class: number("class")?,
        part: field("part")?.clone(),
        predicted: number("predicted")?,
    })
}

/// Where the file of a model lies.
pub fn model_path(root: &Path, mid: u64) -> PathBuf {
    let name = format!("{mid}.safetensors");
    root.join("modules").join("classifier").join(name)
}

/// Truth and answer of every cell in a predict2.json.
pub fn predicted(path: &Path) -> Result<Scores> {
    let document = json(path)?;
    let cells = document["crop_cells"].as_array().context("no crop_cells")?;
    let pair = |it: &Value| Some((id(&it["type"])?, id(&it["predict"])?));
    let pairs: Option<Vec<_>> = cells.iter().map(pair).collect();
    Ok(Scores::of(pairs.context("a cell has no class")?))
}

pub fn json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", path.display()))
}

/// A class id.
pub fn id(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}
