//! What is true, from a COCO file or from a folder in the documented layout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cellmill_core::classes::{ClassTable, KnownClasses};
use cellmill_core::detection::{Found, Scene, Truth};
use cellmill_core::ids::{ImageName, PointsDate};
use cellmill_core::label::is_later;
use cellmill_core::points;

use crate::cli::Error;
use crate::import;

use super::detections::Detection;
use super::names::{Meant, Name, Names};

/// Images with their cells, and what classes are called.
#[derive(Clone, Debug, Default)]
pub(crate) struct TruthSet {
    pub(crate) path: PathBuf,
    /// In the order that decides between equal scores: by COCO's id, or by batch, case and name.
    pub(crate) images: Vec<TrueImage>,
    pub(crate) classes: BTreeMap<u32, String>,
    /// Rows of CSVs that say nothing.
    pub(crate) n_bad_rows: u64,
    pub(super) names: Names,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TrueImage {
    pub(crate) name: String,
    /// `None`: nobody has looked at it.
    pub(crate) truth: Option<Vec<Truth>>,
}

/// Truth and detections of each image that somebody has looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joined {
    pub(crate) scenes: Vec<Scene>,
    /// Detections on images at which nobody has looked.
    pub(crate) n_unjudged: usize,
}

impl TruthSet {
    /// Reads a folder, or else a COCO file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            Self::of_folder(path)
        } else {
            Self::of_coco(path)
        }
    }

    fn of_folder(path: &Path) -> Result<Self, Error> {
        let listing = import::listed(path)?;
        let mut images = BTreeMap::new();
        let mut tables: BTreeMap<_, (PointsDate, &Path)> = BTreeMap::new();
        for file in &listing.files {
            let parts: Vec<&str> = file.parts.iter().map(String::as_str).collect();
            match parts[..] {
                ["img", batch, case, "Images", name] => {
                    let stem = ImageName::of_hospital(name)
                        .map_or_else(|_| name.to_owned(), |it| it.stem().to_string());
                    images.insert((batch, case, stem), parts.join("/"));
                }
                ["csv", batch, date, case, name] => {
                    let Some(stem) = name.strip_suffix(".csv") else {
                        continue;
                    };
                    let Ok(date) = PointsDate::parse(date) else {
                        continue;
                    };
                    let table = tables.entry((batch, case, stem.to_owned()));
                    let newest = table.or_insert_with(|| (date.clone(), &file.path));
                    if is_later(&date, &newest.0) {
                        *newest = (date, &file.path);
                    }
                }
                _ => {}
            }
        }
        let mut set = Self {
            path: path.to_owned(),
            classes: classes(listing.classes.as_deref())?,
            ..Self::default()
        };
        let all: BTreeSet<_> = images.keys().chain(tables.keys()).collect();
        for (at, key) in all.into_iter().enumerate() {
            let (batch, case, stem) = key;
            let unseen = || format!("img/{batch}/{case}/Images/{stem}");
            let name = images.get(key).cloned().unwrap_or_else(unseen);
            let truth = match tables.get(key) {
                Some((_, table)) => {
                    let (truth, n_bad_rows) = of_csv(table)?;
                    set.n_bad_rows += n_bad_rows;
                    Some(truth)
                }
                None => None,
            };
            set.names.add_path(&name, at);
            set.images.push(TrueImage { name, truth });
        }
        Ok(set)
    }

    /// One image and its CSV, wherever they lie; `classes` is a class table.
    pub(crate) fn of_one(csv: &Path, image: &Path, table: Option<&Path>) -> Result<Self, Error> {
        let name = image.display().to_string();
        let (truth, n_bad_rows) = of_csv(csv)?;
        let mut names = Names::default();
        names.add_path(&name, 0);
        Ok(Self {
            path: csv.to_owned(),
            images: vec![TrueImage {
                name,
                truth: Some(truth),
            }],
            classes: classes(table)?,
            n_bad_rows,
            names,
        })
    }

    /// Does the name mean the image at this place?
    pub(crate) fn is_of(&self, name: &Name, image: usize) -> bool {
        self.names.find(name) == Meant::One(image)
    }

    /// The place of the image that a name means; `whom` is who names it.
    pub(crate) fn image(&self, name: &Name, file: &Path, whom: &str) -> Result<usize, Error> {
        let (what, hint) = match self.names.find(name) {
            Meant::One(it) => return Ok(it),
            Meant::Several => (
                format!("{whom} is of image `{name}`, and several are called so"),
                "name it by its whole path or key, such as img/<batch>/<case>/Images/<image>",
            ),
            Meant::None => (
                format!(
                    "{whom} is of image `{name}`, which `{}` does not have",
                    self.path.display()
                ),
                "images are named by key, file name or COCO's id; only a COCO truth has ids",
            ),
        };
        Err(Error::malformed(file, what, hint))
    }

    /// The id of a class that is named by number or name.
    pub(crate) fn class(&self, name: &Name) -> Option<u32> {
        match name {
            Name::Number(id) => u32::try_from(*id).ok(),
            Name::Text(text) => {
                let mut classes = self.classes.iter();
                let named = classes.find(|(_, it)| it.eq_ignore_ascii_case(text));
                named.map(|it| *it.0).or_else(|| text.parse().ok())
            }
        }
    }

    /// What a detection says; without a class where classes are not told apart.
    pub(crate) fn found(
        &self,
        it: &Detection,
        file: &Path,
        is_agnostic: bool,
    ) -> Result<Found, Error> {
        let class = match &it.class {
            Some(name) => self.class(name).ok_or_else(|| {
                Error::malformed(
                    file,
                    format!("detection {} is of class `{name}`, which nobody defines", it.place),
                    "give its id, or define it: in `categories` of a COCO file, in classes.json of a folder",
                )
            })?,
            None if is_agnostic => 0,
            None => {
                return Err(Error::malformed(
                    file,
                    format!("detection {} has no class", it.place),
                    "add `class`, or do not tell classes apart: --agnostic",
                ));
            }
        };
        Ok(Found {
            class,
            bbox: it.bbox,
            score: it.score,
        })
    }

    /// Puts each detection to its image.
    pub(crate) fn join(
        &self,
        detections: &[Detection],
        file: &Path,
        is_agnostic: bool,
    ) -> Result<Joined, Error> {
        let mut founds = vec![Vec::new(); self.images.len()];
        for it in detections {
            let whom = format!("detection {}", it.place);
            let name = it.image.as_ref().ok_or_else(|| {
                Error::malformed(
                    file,
                    format!("{whom} names no image"),
                    "add `image` or `image_id`",
                )
            })?;
            let image = self.image(name, file, &whom)?;
            founds[image].push(self.found(it, file, is_agnostic)?);
        }
        let mut joined = Joined::default();
        for (image, found) in self.images.iter().zip(founds) {
            match image.truth.clone() {
                Some(truth) => joined.scenes.push(Scene { truth, found }),
                None => joined.n_unjudged += found.len(),
            }
        }
        Ok(joined)
    }

    /// `301 RBC`, or the number alone.
    pub(crate) fn shown(&self, class: u32) -> String {
        match self.classes.get(&class) {
            Some(name) => format!("{class} {name}"),
            None => class.to_string(),
        }
    }
}

/// The cells of a doctor's CSV, each once, and how many rows say nothing.
fn of_csv(path: &Path) -> Result<(Vec<Truth>, u64), Error> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let read = points::parse(&bytes, points::CsvLimits::default(), |_| true);
    let points = read.map_err(|error| Error::Malformed {
        path: path.to_owned(),
        source: error.into(),
    })?;
    let mut truth = Vec::with_capacity(points.rows.len());
    for row in points.rows.iter().filter(|it| !it.duplicate) {
        let bbox = row.bbox.ok_or_else(|| {
            Error::malformed(
                path,
                format!("line {} has no box", row.line),
                "boxes are compared with boxes: give every row x1, y1, x2 and y2",
            )
        })?;
        truth.push(Truth {
            class: row.class,
            bbox: [bbox.x1, bbox.y1, bbox.x2, bbox.y2].map(f64::from),
            crowd: false,
        });
    }
    Ok((truth, points.n_rejected()))
}

/// The built-in classes and those of the folder's own table.
fn classes(table: Option<&Path>) -> Result<BTreeMap<u32, String>, Error> {
    let mut tables = Vec::new();
    if let Some(path) = table {
        let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
        let table = ClassTable::parse("classes", &bytes).map_err(|error| Error::Malformed {
            path: path.to_owned(),
            source: error.into(),
        })?;
        tables.push(table);
    }
    let known = KnownClasses::new(&tables);
    Ok(known.iter().map(|it| (it.id, it.name.clone())).collect())
}
