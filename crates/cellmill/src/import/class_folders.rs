//! Folders that are named after classes: what lies in them, and which image each file becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cellmill_api::views::FilePart;
use cellmill_core::ids::BatchId;

use super::listing::{Found, LayoutError, Listing};
use super::plan::{Plan, PlannedFile, image, is_litter};
use super::report::Problem;

/// The layout, as a hint shows it.
pub(super) const LAYOUT: &str =
    "the layout is <class>/<image>, or {train,val,test}/<class>/<image>";

/// What lies in a folder of class folders.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassListing {
    pub(super) listing: Listing,
    /// Files beside the class folders, which are no business of an import.
    pub(super) passed_over: Vec<String>,
}

/// Lists the class folders.
pub(super) fn list(folder: &Path) -> Result<ClassListing, LayoutError> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotADirectory => LayoutError::File {
            path: folder.to_owned(),
        },
        _ => LayoutError::Unreadable {
            path: folder.to_owned(),
            source,
        },
    };
    let mut found = ClassListing::default();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().map_err(unreadable)?.is_dir();
        if is_folder && !name.starts_with('.') {
            found.listing.enter(&entry.path(), &[name]);
        } else if !is_litter(&name) {
            found.passed_over.push(name);
        }
    }
    found.passed_over.sort();
    found.listing.files.sort_by(|a, b| a.parts.cmp(&b.parts));
    found.listing.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What is done with class folders.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassPlan {
    pub(super) plan: Plan,
    /// By key: what the folder says of the image.
    pub(super) images: BTreeMap<String, Told>,
}

/// What a folder says of its images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    pub(super) part: Option<String>,
    /// As the folder is called.
    pub(super) class: String,
}

/// Where the images go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) batch: BatchId,
    /// `None`: the name of the part, or `all`.
    pub(super) case: Option<String>,
    pub(super) label_type: String,
}

struct Candidate<'a> {
    found: &'a Found,
    told: Told,
    case: String,
    name: &'a str,
}

/// Plans the import of class folders: a pure function of the listing.
///
/// An image keeps its file's name. Where two of a case share one, all of them get their class before it.
pub(super) fn plan(listing: &Listing, target: &Target) -> ClassPlan {
    let mut made = ClassPlan::default();
    for skipped in &listing.skipped {
        made.plan.set_aside.push(Problem::of_skipped(skipped));
    }
    let parts = part_folders(listing);
    let mut candidates = Vec::new();
    let mut n_of_name: BTreeMap<(String, String), u32> = BTreeMap::new();
    for found in &listing.files {
        let names: Vec<&str> = found.parts.iter().map(String::as_str).collect();
        let (part, class, name) = match names[..] {
            [.., name] if is_litter(name) || !is_image(name) => {
                made.plan.n_ignored += 1;
                continue;
            }
            [part, class, name] if parts.contains(part) => (Some(part), class, name),
            [class, name] if !parts.contains(class) => (None, class, name),
            _ => {
                let reason = format!("it does not lie in a class folder: {LAYOUT}");
                let problem = Problem::refused(found, "misplaced", reason);
                made.plan.set_aside.push(problem);
                continue;
            }
        };
        let case = target.case.clone();
        let case = case.unwrap_or_else(|| part.unwrap_or("all").to_owned());
        let key = (case.clone(), name.to_lowercase());
        *n_of_name.entry(key).or_default() += 1;
        candidates.push(Candidate {
            found,
            told: Told {
                part: part.map(str::to_owned),
                class: class.to_owned(),
            },
            case,
            name,
        });
    }
    for it in candidates {
        let is_shared = n_of_name[&(it.case.clone(), it.name.to_lowercase())] > 1;
        made.add(it, is_shared, target);
    }
    made.plan.files.sort_by(|a, b| a.key.cmp(&b.key));
    made
}

impl ClassPlan {
    fn add(&mut self, it: Candidate<'_>, is_shared: bool, target: &Target) {
        let name = if is_shared {
            format!("{}_{}", it.told.class, it.name)
        } else {
            it.name.to_owned()
        };
        let file = match image(it.found, target.batch.as_str(), &it.case, &name) {
            Ok(file) => file,
            Err(error) => {
                let problem = Problem::refused(it.found, "name", error.to_string());
                return self.plan.set_aside.push(problem);
            }
        };
        if self.images.contains_key(&file.key) {
            let reason = format!("another image goes to the key `{}`", file.key);
            let problem = Problem::refused(it.found, "same_key", reason);
            return self.plan.set_aside.push(problem);
        }
        let part = it.told.part.as_deref().and_then(part_of);
        self.images.insert(file.key.clone(), it.told);
        self.plan.files.push(PlannedFile {
            label_type: Some(target.label_type.clone()),
            part,
            ..file
        });
    }
}

/// The folders at the top that are parts of a split: called like one, and with folders inside.
fn part_folders(listing: &Listing) -> BTreeSet<&str> {
    let deep = listing.files.iter().filter(|it| it.parts.len() > 2);
    let tops = deep.filter_map(|it| it.parts.first());
    tops.map(String::as_str)
        .filter(|it| part_of(it).is_some())
        .collect()
}

fn part_of(folder: &str) -> Option<FilePart> {
    Some(match folder.to_lowercase().as_str() {
        "train" | "training" => FilePart::Train,
        "val" | "valid" | "validation" => FilePart::Validation,
        "test" => FilePart::Test,
        _ => return None,
    })
}

fn is_image(name: &str) -> bool {
    const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp", "gif"];
    name.rsplit_once('.').is_some_and(|(_, it)| {
        EXTENSIONS
            .iter()
            .any(|known| it.eq_ignore_ascii_case(known))
    })
}

/// A folder's name as a batch: as it is where it may be one.
pub(super) fn fitting_batch(folder: &str) -> BatchId {
    let clean: String = folder
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '/' | '\\' | '.') {
                '-'
            } else {
                c
            }
        })
        .collect();
    let mut name = match clean.as_str() {
        "" => "images",
        name => name,
    };
    loop {
        let made = [folder, name, &format!("{name}-images")]
            .iter()
            .find_map(|it| BatchId::parse(it).ok());
        match (made, name.char_indices().next_back()) {
            (Some(batch), _) => return batch,
            // Too long: the last character goes.
            (None, Some((at, _))) => name = &name[..at],
            (None, None) => name = "images",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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

    fn planned(paths: &[&str]) -> ClassPlan {
        let target = Target {
            batch: BatchId::parse("b").unwrap(),
            case: None,
            label_type: "b".to_owned(),
        };
        plan(&listing(paths), &target)
    }

    #[test]
    fn a_folder_says_class_and_part() {
        let made = planned(&["train/LSIL/1.png", "val/LSIL/2.PNG", "NILM/3.jpg"]);
        let shown: Vec<(&str, Option<&str>, &str)> = made
            .images
            .iter()
            .map(|(key, it)| (key.as_str(), it.part.as_deref(), it.class.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("img/b/all/Images/3.jpg", None, "NILM"),
                ("img/b/train/Images/1.png", Some("train"), "LSIL"),
                ("img/b/val/Images/2.PNG", Some("val"), "LSIL"),
            ]
        );
        let parts: Vec<Option<FilePart>> = made.plan.files.iter().map(|it| it.part).collect();
        assert_eq!(
            parts,
            [None, Some(FilePart::Train), Some(FilePart::Validation)]
        );
    }

    #[test]
    fn a_class_called_like_a_part_is_a_class_when_images_lie_in_it() {
        let made = planned(&["test/1.png", "other/2.png"]);
        let classes: Vec<&str> = made.images.values().map(|it| it.class.as_str()).collect();
        assert_eq!(classes, ["test", "other"]);
    }

    #[test]
    fn names_that_several_classes_use_get_their_class() {
        let made = planned(&["a/1.png", "b/1.png", "b/2.png"]);
        let keys: Vec<&String> = made.images.keys().collect();
        assert_eq!(
            keys,
            [
                "img/b/all/Images/2.png",
                "img/b/all/Images/a_1.png",
                "img/b/all/Images/b_1.png"
            ]
        );
    }

    #[test]
    fn what_is_no_image_is_ignored_and_what_lies_deeper_is_named() {
        let made = planned(&["a/1.png", "a/notes.txt", "a/.DS_Store", "a/deep/2.png"]);
        assert_eq!((made.images.len(), made.plan.n_ignored), (1, 2));
        assert_eq!(made.plan.set_aside[0].code, "misplaced");
    }

    #[test]
    fn every_folder_name_makes_a_batch() {
        for (folder, batch) in [
            ("smears", "smears"),
            ("cells", "cells-images"),
            ("a..b", "a--b"),
            ("", "images"),
            ("img", "img-images"),
        ] {
            assert_eq!(fitting_batch(folder).as_str(), batch);
        }
        assert!(fitting_batch(&"很".repeat(40)).as_str().starts_with('很'));
    }
}
