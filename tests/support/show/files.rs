//! The files that a data set leaves, read naively: the list of cells, packs, documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::data::Side4;
use super::http::{sha256_hex, text};
use super::table;

/// One row of cellslist.csv.
#[derive(Clone, Debug)]
pub struct Cell {
    pub image: String,
    pub cellpath: String,
    pub class: u32,
    pub crop: Side4,
    pub kernel: Side4,
}

/// `datasets/<dir>/`.
#[derive(Clone, Debug)]
pub struct Dataset {
    root: PathBuf,
    folder: PathBuf,
}

impl Dataset {
    pub fn of(root: &Path, dir: &str) -> Self {
        Self {
            root: root.to_owned(),
            folder: root.join("datasets").join(dir),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.folder.join(name).is_file()
    }

    fn json(&self, name: &str) -> Result<Value> {
        let bytes = fs::read(self.folder.join(name)).with_context(|| format!("read {name}"))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{name} is no JSON"))
    }

    /// All rows of the list, with its further parts.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        let mut part = 0;
        loop {
            let name = match part {
                0 => "cellslist.csv".to_owned(),
                n => format!("cellslist-{n}.csv"),
            };
            if part > 0 && !self.has(&name) {
                return Ok(cells);
            }
            let list = fs::read_to_string(self.folder.join(&name)).context(name)?;
            for row in table::rows(&list) {
                let number = |column: &str| -> Result<u32> {
                    let field = row
                        .get(column)
                        .with_context(|| format!("no column {column}"))?;
                    field
                        .parse()
                        .with_context(|| format!("{column} is {field}"))
                };
                let sides = |columns: [&str; 4]| -> Result<Side4> {
                    let [x1, y1, x2, y2] = columns.map(number);
                    Ok([x1?, y1?, x2?, y2?])
                };
                cells.push(Cell {
                    image: row.get("imgpath").cloned().unwrap_or_default(),
                    cellpath: row.get("cellpath").cloned().unwrap_or_default(),
                    class: number("celltype")?,
                    crop: sides(["x1", "y1", "x2", "y2"])?,
                    kernel: sides(["kx1", "ky1", "kx2", "ky2"])?,
                });
            }
            part += 1;
        }
    }

    /// What is wrong with the documented files, in words. Nothing: all are in place and agree.
    pub fn problems(&self, n_images: usize, size: u32) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for name in [
            "info.json",
            "info2.json",
            "filelist.csv",
            "cellslist.csv",
            "log.txt",
            "data.json",
            "snapshot.json",
            "packs.json",
        ] {
            if !self.has(name) {
                problems.push(format!("{name} is missing"));
            }
        }
        if !problems.is_empty() {
            return Ok(problems);
        }
        let mut check = |holds: bool, what: String| {
            if !holds {
                problems.push(what);
            }
        };
        let cells = self.cells()?;
        let list = fs::read_to_string(self.folder.join("filelist.csv"))?;
        let n_listed = table::rows(&list).len();
        check(
            n_listed == n_images,
            format!("filelist.csv has {n_listed} images"),
        );
        let snapshot = self.json("snapshot.json")?;
        let n_frozen = snapshot["images"].as_array().map_or(0, Vec::len);
        check(
            n_frozen == n_images,
            format!("snapshot.json has {n_frozen} images"),
        );
        check(
            text(&self.json("data.json")?["state"]) == "done",
            "the job is not done".to_owned(),
        );
        for name in ["info.json", "info2.json"] {
            let n_cells = self.json(name)?["labelcnt"].as_u64().unwrap_or(u64::MAX);
            check(
                n_cells == cells.len() as u64,
                format!("{name} counts {n_cells} cells"),
            );
        }
        let n_units = self.json("data.json")?["units"]["count"]
            .as_u64()
            .unwrap_or(0);
        let n_inputs = fs::read_dir(self.folder.join("inputs"))?.count() as u64;
        check(
            n_inputs == n_units,
            format!("{n_inputs} inputs for {n_units} units"),
        );
        for cell in &cells {
            let [x1, y1, x2, y2] = cell.crop;
            let is_cut = x2 - x1 == y2 - y1 && x2 - x1 <= size;
            check(is_cut, format!("{:?} is no crop of {size}", cell.crop));
        }
        problems.extend(self.pictures_problems(&cells)?);
        Ok(problems)
    }

    /// Each cell's picture lies in a pack and as a loose file, with the same bytes.
    fn pictures_problems(&self, cells: &[Cell]) -> Result<Vec<String>> {
        let packed = self.packed()?;
        let mut problems = Vec::new();
        let paths: BTreeSet<&str> = cells.iter().map(|it| it.cellpath.as_str()).collect();
        if packed.len() != paths.len() {
            problems.push(format!(
                "{} pictures for {} cells",
                packed.len(),
                paths.len()
            ));
        }
        for path in paths {
            let name = path.rsplit('/').next().unwrap_or_default();
            let loose = fs::read(self.root.join(path));
            match (packed.get(name), loose) {
                (Some(packed), Ok(loose)) if *packed == loose => {
                    if !loose.starts_with(b"\x89PNG") {
                        problems.push(format!("{path} is no PNG"));
                    }
                }
                (None, _) => problems.push(format!("{path} is in no pack")),
                (_, Err(_)) => problems.push(format!("{path} is missing")),
                _ => problems.push(format!("{path} differs from its pack")),
            }
        }
        Ok(problems)
    }

    /// The entries of all packs that packs.json names.
    fn packed(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let list = self.json("packs.json")?;
        let mut entries = BTreeMap::new();
        for pack in list["packs"].as_array().into_iter().flatten() {
            let key = text(&pack["key"]);
            let bytes = fs::read(self.root.join(&key)).with_context(|| key.clone())?;
            let sha256 = sha256_hex(&bytes);
            ensure!(
                sha256 == text(&pack["sha256"]),
                "{key} has other bytes than packs.json says"
            );
            ensure!(
                key.contains(&sha256[..16]),
                "{key} is not named by its content"
            );
            entries.extend(stored_entries(&bytes).with_context(|| format!("{key} is no pack"))?);
        }
        Ok(entries)
    }
}

/// The field `state` of a document; empty when there is no document.
pub fn state_of(path: &Path) -> Result<String> {
    let Ok(bytes) = fs::read(path) else {
        return Ok(String::new());
    };
    let document: Value =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is torn", path.display()))?;
    Ok(text(&document["state"]))
}

/// The entries of a zip that stores them as they are, by the central directory.
fn stored_entries(zip: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let end = (0..zip.len().checked_sub(21)?)
        .rev()
        .find(|&at| zip[at..].starts_with(b"PK\x05\x06"))?;
    let number = |at: usize, n: usize| {
        let bytes = zip.get(at..at + n)?.iter().rev();
        Some(bytes.fold(0_usize, |sum, &it| sum << 8 | usize::from(it)))
    };
    let mut at = number(end + 16, 4)?;
    let mut entries = BTreeMap::new();
    for _ in 0..number(end + 10, 2)? {
        let is_stored = zip.get(at..)?.starts_with(b"PK\x01\x02") && number(at + 10, 2)? == 0;
        let (n, local) = is_stored.then_some((number(at + 24, 4)?, number(at + 42, 4)?))?;
        let n_name = number(at + 28, 2)?;
        let name = String::from_utf8(zip.get(at + 46..at + 46 + n_name)?.to_vec()).ok()?;
        let from = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
        entries.insert(name, zip.get(from..from + n)?.to_vec());
        at += 46 + n_name + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    Some(entries)
}
