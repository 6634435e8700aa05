//! A folder of data, read naively: what is there, and what should become of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::table;

/// Classes that every lab has (FORMATS A.4).
const BUILT_IN_CLASSES: [u32; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 50, 51, 100, 200, 201,
];

/// x1, y1, x2, y2; right and bottom exclusive.
pub type Side4 = [u32; 4];

/// A folder in the documented layout.
#[derive(Clone, Debug)]
pub struct Folder {
    pub name: String,
    pub path: PathBuf,
    pub images: Vec<ImageFile>,
    pub csvs: Vec<CsvFile>,
    classes: BTreeSet<u32>,
}

/// `img/<batch>/<case>/Images/<name>`.
#[derive(Clone, Debug)]
pub struct ImageFile {
    pub key: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub batch: String,
    pub case: String,
    pub name: String,
}

/// `csv/<batch>/<date>/<case>/<stem>.csv`.
#[derive(Clone, Debug)]
pub struct CsvFile {
    pub key: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub batch: String,
    pub date: String,
    pub case: String,
    pub stem: String,
}

/// A good row of a doctor's CSV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub x: u32,
    pub y: u32,
    pub class: u32,
    /// x1, y1, x2, y2, cut at the border of the image.
    pub bbox: Option<Side4>,
    /// An earlier row says the same.
    pub is_repeat: bool,
}

impl Folder {
    /// The folders of `data` with photographs in the documented layout, by name.
    pub fn all_of(data: &Path) -> Result<Vec<Self>> {
        let mut folders = Vec::new();
        for path in children(data)? {
            if path.join("img").is_dir() && path.join("csv").is_dir() {
                folders.push(Self::read(&path)?);
            }
        }
        folders.retain(|it| !it.images.is_empty());
        Ok(folders)
    }

    pub fn read(path: &Path) -> Result<Self> {
        let mut images = Vec::new();
        let mut csvs = Vec::new();
        for (key, file) in files_below(path)? {
            let parts: Vec<&str> = key.split('/').collect();
            let bytes = file.metadata().context("look at a file")?.len();
            let own = |it: &str| it.to_owned();
            match parts[..] {
                ["img", batch, case, "Images", name] => images.push(ImageFile {
                    key: key.clone(),
                    path: file.clone(),
                    bytes,
                    batch: own(batch),
                    case: own(case),
                    name: own(name),
                }),
                ["csv", batch, date, case, name] => csvs.push(CsvFile {
                    key: key.clone(),
                    path: file.clone(),
                    bytes,
                    batch: own(batch),
                    date: own(date),
                    case: own(case),
                    stem: own(name.strip_suffix(".csv").unwrap_or(name)),
                }),
                _ => {}
            }
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            path: path.to_owned(),
            images,
            csvs,
            classes: classes_of(path)?,
        })
    }

    pub fn n_bytes(&self) -> u64 {
        let images: u64 = self.images.iter().map(|it| it.bytes).sum();
        images + self.csvs.iter().map(|it| it.bytes).sum::<u64>()
    }

    pub fn batches(&self) -> Vec<&str> {
        let batches: BTreeSet<&str> = self.images.iter().map(|it| it.batch.as_str()).collect();
        batches.into_iter().collect()
    }

    /// The good rows of each image by its key, from the latest CSV of its stem. Images without a CSV have none.
    pub fn truth(&self, sizes: &HashMap<String, (u32, u32)>) -> Result<Truth> {
        let mut latest: HashMap<[&str; 3], &CsvFile> = HashMap::new();
        for csv in &self.csvs {
            let place = [csv.batch.as_str(), &csv.case, &csv.stem];
            let known = latest.entry(place).or_insert(csv);
            if date_order(&csv.date) > date_order(&known.date) {
                *known = csv;
            }
        }
        let mut truth = BTreeMap::new();
        for image in &self.images {
            let csv = latest.get(&[image.batch.as_str(), &image.case, stem(&image.name)]);
            let Some((csv, size)) = csv.zip(sizes.get(&image.key)) else {
                continue;
            };
            let bytes = fs::read(&csv.path).with_context(|| csv.key.clone())?;
            let text = String::from_utf8_lossy(&bytes);
            truth.insert(image.key.clone(), self.good_rows(&text, *size));
        }
        Ok(truth)
    }

    /// The rows of a CSV that count for an image of this size.
    pub fn good_rows(&self, text: &str, (w, h): (u32, u32)) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for row in table::rows(text) {
            let number = |name: &str| row.get(name).and_then(|it| it.trim().parse::<f64>().ok());
            let pixel = |name: &str| number(name).filter(|it| it.is_finite()).map(f64::round);
            let (Some(x), Some(y), Some(class)) = (pixel("X"), pixel("Y"), number("Type")) else {
                continue;
            };
            let is_inside = (0.0..f64::from(w)).contains(&x) && (0.0..f64::from(h)).contains(&y);
            if !is_inside || class.fract() != 0.0 || !self.classes.contains(&(class as u32)) {
                continue;
            }
            let cut = |name, end: u32| pixel(name).map(|it| it.clamp(0.0, f64::from(end)) as u32);
            let sides = [cut("x1", w), cut("y1", h), cut("x2", w), cut("y2", h)];
            let bbox = match sides {
                [Some(x1), Some(y1), Some(x2), Some(y2)] if x1 < x2 && y1 < y2 => {
                    Some([x1, y1, x2, y2])
                }
                [None, None, None, None] => None,
                _ => continue,
            };
            let (x, y, class) = (x as u32, y as u32, class as u32);
            let is_repeat = rows
                .iter()
                .any(|it| (it.x, it.y, it.class) == (x, y, class));
            rows.push(Row {
                x,
                y,
                class,
                bbox,
                is_repeat,
            });
        }
        rows
    }
}

/// The good rows of each image, by its key.
pub type Truth = BTreeMap<String, Vec<Row>>;

/// Date folders are not zero padded: `2019-7-22` comes before `2019-10-1`.
fn date_order(date: &str) -> Vec<u64> {
    let parts = date.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|it| it.parse().ok()).collect()
}

/// A file's name without its extension: at most eight letters and digits after the last dot.
pub fn stem(name: &str) -> &str {
    let is_extension =
        |it: &str| (1..=8).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_alphanumeric());
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && is_extension(extension) => stem,
        _ => name,
    }
}

/// Built-in ids and those of classes.json, whichever of its forms it has.
fn classes_of(folder: &Path) -> Result<BTreeSet<u32>> {
    let mut classes = BTreeSet::from(BUILT_IN_CLASSES);
    let path = folder.join("classes.json");
    if path.exists() {
        let table: Value = serde_json::from_slice(&fs::read(&path)?).context("classes.json")?;
        let mapped = table["ids"]
            .as_object()
            .into_iter()
            .flat_map(|it| it.values());
        let listed = table["classes"].as_array().or_else(|| table.as_array());
        let listed = listed.into_iter().flatten().map(|it| &it["id"]);
        let ids = mapped.chain(listed).filter_map(Value::as_u64);
        classes.extend(ids.filter_map(|it| u32::try_from(it).ok()));
    }
    Ok(classes)
}

/// Width and height that a JPEG or PNG says of itself. `None` for other formats and turned photographs.
pub fn size_of(bytes: &[u8]) -> Option<(u32, u32)> {
    let short = |at: usize| {
        let pair = bytes.get(at..at + 2)?;
        Some(u32::from(u16::from_be_bytes([pair[0], pair[1]])))
    };
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        let side = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        return Some((side(16)?, side(20)?));
    }
    let mut at = bytes.starts_with(&[0xff, 0xd8]).then_some(2)?;
    loop {
        let marker = bytes.get(at + 1)?;
        let length = short(at + 2)? as usize;
        match marker {
            // Its orientation may turn it; that is not read here.
            0xe1 if bytes.get(at + 4..)?.starts_with(b"Exif") => return None,
            0xc0..=0xc2 => return Some((short(at + 7)?, short(at + 5)?)),
            _ => at += 2 + length,
        }
    }
}

/// All files below a folder, by their path relative to it with `/`, ascending.
pub fn files_below(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for path in children(&next)? {
            if path.is_dir() {
                open.push(path);
            } else {
                let relative = path
                    .strip_prefix(folder)
                    .context("a path below the folder")?;
                found.insert(relative.to_string_lossy().into_owned(), path.clone());
            }
        }
    }
    Ok(found)
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|it| Ok(it?.path())).collect()
    };
    let mut paths = read().with_context(|| format!("list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

/// Copies a folder with all that is in it.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for path in children(from)? {
        let target = to.join(path.file_name().context("a file has a name")?);
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Folder {
        Folder {
            name: String::new(),
            path: PathBuf::new(),
            images: Vec::new(),
            csvs: Vec::new(),
            classes: BTreeSet::from([1, 301]),
        }
    }

    #[test]
    fn only_rows_inside_the_image_with_a_known_class_count() {
        let text = "X,Y,Type,x1,y1,x2,y2\n5,5,301,0,0,20,9\n5,5,301,,,,\n5,5,302,0,0,9,9\n10,5,1,0,0,9,9\nnan,5,1,0,0,9,9\n5,5,1,9,9,9,9\n";
        let rows = folder().good_rows(text, (10, 10));
        let kept: Vec<_> = rows
            .iter()
            .map(|it| (it.class, it.bbox, it.is_repeat))
            .collect();
        assert_eq!(kept, [(301, Some([0, 0, 10, 9]), false), (301, None, true)]);
    }

    #[test]
    fn dates_are_ordered_as_numbers() {
        assert!(date_order("2019-10-1") > date_order("2019-7-22"));
        assert!(date_order("20190524") > date_order("20190523"));
    }

    #[test]
    fn a_stem_ends_at_the_last_extension() {
        assert_eq!(stem("a.b.JPG"), "a.b");
        assert_eq!(stem("a.b c"), "a.b c");
    }
}
