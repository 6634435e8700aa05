//! Which files of a listing are sent, under which keys, and why the others are not: a pure function.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cellmill_api::views::{FileKind, FilePart};
use cellmill_core::ids::{BatchId, CaseId, IdError, ImageName, PointsDate, Stem};
use cellmill_core::keys::{CsvKey, ImageKey, ImageRoot};

use super::listing::{Found, Listing};
use super::report::Problem;

/// Which part of a folder is wanted; empty lists want everything.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    pub batches: Vec<String>,
    pub cases: Vec<String>,
}

/// What an import does with a folder.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order of sending: images before points, so that few points have to wait.
    pub files: Vec<PlannedFile>,
    /// Files that will not be sent.
    pub set_aside: Vec<Problem>,
    /// Files that are no business of an import: thumbnails, notes, files of the desktop.
    pub n_ignored: u64,
}

/// A file to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    pub path: PathBuf,
    pub kind: FileKind,
    pub batch: String,
    pub case: String,
    /// Of points only.
    pub date: Option<String>,
    /// The file's own name; the server may shorten it.
    pub name: String,
    pub bytes: u64,
    /// Where the server will put it.
    pub key: String,
    /// What an image and its points have in common: `<batch>/<case>/<stem>`.
    pub subject: String,
    /// Of images: how they are labelled, by name.
    pub label_type: Option<String>,
    /// Of images: the part of a fixed split.
    pub part: Option<FilePart>,
}

/// What a path in the folder means.
enum Meaning {
    Wanted(PlannedFile),
    /// Part of the layout or of the desktop, but nothing to send.
    Ignored,
    Refused {
        code: &'static str,
        reason: String,
    },
}

/// Plans the import of a listing.
pub fn plan(listing: &Listing, filters: &Filters) -> Plan {
    let mut plan = Plan::default();
    for skipped in &listing.skipped {
        plan.set_aside.push(Problem::of_skipped(skipped));
    }
    let mut by_key: BTreeMap<String, PathBuf> = BTreeMap::new();
    for found in &listing.files {
        if !filters.want(&found.parts) {
            continue;
        }
        let (code, reason) = match meaning(found) {
            Meaning::Ignored => {
                plan.n_ignored += 1;
                continue;
            }
            Meaning::Refused { code, reason } => (code, reason),
            Meaning::Wanted(file) => match by_key.get(&file.key) {
                None => {
                    by_key.insert(file.key.clone(), file.path.clone());
                    plan.files.push(file);
                    continue;
                }
                Some(first) => (
                    "same_key",
                    format!("`{}` goes to the same key", first.display()),
                ),
            },
        };
        plan.set_aside.push(Problem::refused(found, code, reason));
    }
    let order = |it: &PlannedFile| it.kind == FileKind::Points;
    plan.files
        .sort_by(|a, b| (order(a), &a.key).cmp(&(order(b), &b.key)));
    plan
}

impl Filters {
    fn want(&self, parts: &[String]) -> bool {
        let passes = |wanted: &[String], at: usize| {
            wanted.is_empty() || parts.get(at).is_some_and(|it| wanted.contains(it))
        };
        let case_at = if parts.first().is_some_and(|it| it == "csv") {
            3
        } else {
            2
        };
        passes(&self.batches, 1) && passes(&self.cases, case_at)
    }
}

fn meaning(found: &Found) -> Meaning {
    let parts: Vec<&str> = found.parts.iter().map(String::as_str).collect();
    let made = match parts[..] {
        [.., name] if is_litter(name) => return Meaning::Ignored,
        ["img", batch, case, "Images", name] => image(found, batch, case, name),
        // Thumbnails and the scanner's notes lie beside `Images/` (FORMATS A.2).
        ["img", _, _, "Thumbs", ..] | ["img", _, _, "Scan.txt"] => return Meaning::Ignored,
        ["csv", batch, date, case, name] if is_csv(name) => points(found, batch, date, case, name),
        ["img", ..] => return misplaced("img/<batch>/<case>/Images/<image>"),
        _ => return misplaced("csv/<batch>/<date>/<case>/<image without extension>.csv"),
    };
    match made {
        Ok(file) => Meaning::Wanted(file),
        Err(error) => Meaning::Refused {
            code: "name",
            reason: error.to_string(),
        },
    }
}

fn misplaced(form: &str) -> Meaning {
    Meaning::Refused {
        code: "misplaced",
        reason: format!("it does not lie at {form}"),
    }
}

pub(super) fn image(
    found: &Found,
    batch: &str,
    case: &str,
    name: &str,
) -> Result<PlannedFile, IdError> {
    let key = ImageKey {
        batch: BatchId::parse(batch)?,
        case: CaseId::parse(case)?,
        root: ImageRoot::Hospital,
        name: ImageName::of_hospital(name)?,
    };
    Ok(PlannedFile {
        path: found.path.clone(),
        kind: FileKind::Image,
        batch: batch.to_owned(),
        case: case.to_owned(),
        date: None,
        name: name.to_owned(),
        bytes: found.bytes,
        subject: format!("{batch}/{case}/{}", key.name.stem()),
        key: key.to_path(),
        label_type: None,
        part: None,
    })
}

fn points(
    found: &Found,
    batch: &str,
    date: &str,
    case: &str,
    name: &str,
) -> Result<PlannedFile, IdError> {
    let key = CsvKey {
        batch: BatchId::parse(batch)?,
        date: PointsDate::parse(date)?,
        case: CaseId::parse(case)?,
        stem: Stem::of_original(name)?,
    };
    Ok(PlannedFile {
        path: found.path.clone(),
        kind: FileKind::Points,
        batch: batch.to_owned(),
        case: case.to_owned(),
        date: Some(date.to_owned()),
        name: name.to_owned(),
        bytes: found.bytes,
        subject: format!("{batch}/{case}/{}", key.stem),
        key: key.to_path(),
        label_type: None,
        part: None,
    })
}

fn is_csv(name: &str) -> bool {
    name.len() > 4 && name.as_bytes()[name.len() - 4..].eq_ignore_ascii_case(b".csv")
}

/// Files that desktops leave in every folder.
pub(super) fn is_litter(name: &str) -> bool {
    matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini") || name.starts_with("._")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let files = paths.iter().map(|path| Found {
            path: PathBuf::from(path),
            parts: path.split('/').map(str::to_owned).collect(),
            bytes: 1,
        });
        Listing {
            files: files.collect(),
            ..Listing::default()
        }
    }

    fn keys(plan: &Plan) -> Vec<&str> {
        plan.files.iter().map(|it| it.key.as_str()).collect()
    }

    fn codes(plan: &Plan) -> Vec<&str> {
        plan.set_aside.iter().map(|it| it.code.as_str()).collect()
    }

    #[test]
    fn images_go_first_and_share_their_subject_with_their_points() {
        let plan = plan(
            &listing(&["csv/b/2019-7-22/c/x.csv", "img/b/c/Images/x.JPG"]),
            &Filters::default(),
        );
        assert_eq!(
            keys(&plan),
            ["img/b/c/Images/x.JPG", "csv/b/2019-7-22/c/x.csv"]
        );
        assert_eq!(plan.files[0].subject, plan.files[1].subject);
        assert_eq!(plan.files[1].date.as_deref(), Some("2019-7-22"));
    }

    #[test]
    fn long_names_are_shortened_to_one_subject() {
        let stem = "很".repeat(40);
        let paths = [
            format!("img/b/c/Images/{stem}.JPG"),
            format!("csv/b/d/c/{stem}.csv"),
        ];
        let plan = plan(&listing(&[&paths[0], &paths[1]]), &Filters::default());
        assert_eq!(plan.files.len(), 2);
        assert_eq!(plan.files[0].subject, plan.files[1].subject);
        assert!(plan.files[0].key.len() < paths[0].len());
    }

    #[test]
    fn what_is_no_part_of_the_layout_is_named_or_ignored() {
        let plan = plan(
            &listing(&[
                "img/b/c/x.JPG",
                "img/img/c/Images/x.JPG",
                "img/b/c/Images/x..JPG",
                "csv/b/c/x.csv",
                "csv/b/d/c/x.txt",
                "img/b/c/Images/.DS_Store",
                "img/b/c/Thumbs/x.JPG",
                "csv/b/d/c/y.CSV",
                "csv/b/d/c/y.csv",
            ]),
            &Filters::default(),
        );
        assert_eq!(
            codes(&plan),
            [
                "misplaced",
                "name",
                "name",
                "misplaced",
                "misplaced",
                "same_key"
            ]
        );
        assert_eq!((plan.files.len(), plan.n_ignored), (1, 2));
    }

    #[test]
    fn filters_look_at_batch_and_case_of_both_trees() {
        let files = listing(&[
            "img/b1/c1/Images/x.JPG",
            "img/b2/c1/Images/x.JPG",
            "csv/b1/d/c1/x.csv",
            "csv/b1/d/c2/x.csv",
        ]);
        let only = |batches: &[&str], cases: &[&str]| Filters {
            batches: batches.iter().map(ToString::to_string).collect(),
            cases: cases.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(plan(&files, &only(&["b1"], &[])).files.len(), 3);
        assert_eq!(plan(&files, &only(&["b1"], &["c1"])).files.len(), 2);
        assert_eq!(plan(&files, &only(&[], &["c2"])).files.len(), 1);
    }
}
