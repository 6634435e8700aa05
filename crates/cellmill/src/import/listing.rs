//! What lies in a folder: every file of `img/` and `csv/`, in the same order on every machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder's content, as far as an import looks at it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Ascending by path.
    pub files: Vec<Found>,
    /// What could not be looked at.
    pub skipped: Vec<Skipped>,
    /// `classes.json`, when it lies beside `img/` and `csv/`.
    pub classes: Option<PathBuf>,
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// The path below the folder, part by part: `["img", "20190523", "1811001", "Images", "x.JPG"]`.
    pub parts: Vec<String>,
    pub bytes: u64,
}

/// Something that is no file to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    pub code: &'static str,
    pub reason: String,
    /// Is that a loss to the person who imports, or of no interest?
    pub is_failure: bool,
}

/// A folder that is not in the layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("cannot read the folder `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` is a file, not a folder", path.display())]
    File { path: PathBuf },
    #[error("`{}` holds images directly, not in the layout", path.display())]
    BareImages { path: PathBuf },
    #[error("`{}` holds neither `img/` nor `csv/`", path.display())]
    NoTrees { path: PathBuf },
}

/// The layout, as a hint shows it.
pub(super) const LAYOUT: &str = "the layout is img/<batch>/<case>/Images/<image>, \
     csv/<batch>/<date>/<case>/<image without extension>.csv and, if wanted, classes.json";

/// Deeper than the layout goes, so that misplaced files are named; a deeper tree is not followed.
const MAX_DEPTH: usize = 8;

/// Lists the folder. Symbolic links are not followed, and what cannot be read does not stop the rest.
pub fn list(folder: &Path) -> Result<Listing, LayoutError> {
    let path = || folder.to_owned();
    let entries = fs::read_dir(folder).map_err(|source| match source.kind() {
        io::ErrorKind::NotADirectory => LayoutError::File { path: path() },
        _ => LayoutError::Unreadable {
            path: path(),
            source,
        },
    })?;
    let names: Vec<_> = entries.flatten().map(|it| it.file_name()).collect();
    let has = |name: &str| names.iter().any(|it| it == name);
    if !has("img") && !has("csv") {
        let looks_like_image = |it: &&std::ffi::OsString| is_image_name(Path::new(it));
        return Err(if names.iter().any(|it| looks_like_image(&it)) {
            LayoutError::BareImages { path: path() }
        } else {
            LayoutError::NoTrees { path: path() }
        });
    }
    let mut listing = Listing::default();
    for tree in ["csv", "img"].into_iter().filter(|it| has(it)) {
        listing.enter(&folder.join(tree), &[tree.to_owned()]);
    }
    let classes = folder.join("classes.json");
    listing.classes = fs::symlink_metadata(&classes)
        .is_ok_and(|it| it.is_file())
        .then_some(classes);
    listing.files.sort_by(|a, b| a.parts.cmp(&b.parts));
    listing.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

impl Listing {
    pub(super) fn enter(&mut self, folder: &Path, parts: &[String]) {
        let entries = match fs::symlink_metadata(folder) {
            Ok(about) if about.is_symlink() => {
                return self.skip(folder, "symbolic_link", "symbolic links are not followed");
            }
            Ok(_) => fs::read_dir(folder),
            Err(error) => Err(error),
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.skip(folder, "unreadable", error.to_string()),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.visit(&entry, parts),
                Err(error) => self.skip(folder, "unreadable", error.to_string()),
            }
        }
    }

    fn visit(&mut self, entry: &fs::DirEntry, parent: &[String]) {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return self.skip(&path, "name", "its name is not UTF-8");
        };
        let about = match entry.metadata() {
            Ok(about) => about,
            Err(error) => return self.skip(&path, "unreadable", error.to_string()),
        };
        let mut parts = parent.to_vec();
        parts.push(name);
        if about.is_symlink() {
            self.skip(&path, "symbolic_link", "symbolic links are not followed");
        } else if about.is_dir() && parts.len() < MAX_DEPTH {
            self.enter(&path, &parts);
        } else if about.is_file() {
            self.files.push(Found {
                path,
                parts,
                bytes: about.len(),
            });
        } else {
            self.skip(&path, "no_file", "it is no regular file");
        }
    }

    fn skip(&mut self, path: &Path, code: &'static str, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            path: path.to_owned(),
            code,
            reason: reason.into(),
            is_failure: code != "symbolic_link",
        });
    }
}

fn is_image_name(path: &Path) -> bool {
    const EXTENSIONS: [&str; 9] = [
        "jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp", "gif", "csv",
    ];
    let extension = path.extension().and_then(|it| it.to_str());
    extension.is_some_and(|it| {
        EXTENSIONS
            .iter()
            .any(|known| it.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn files_come_in_one_order_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "img/b/2/Images/y.jpg", "yy");
        write(root.path(), "img/b/1/Images/x.jpg", "x");
        write(root.path(), "csv/b/d/1/x.csv", "");
        write(root.path(), "classes.json", "{}");
        write(root.path(), "readme.txt", "not looked at");
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc", root.path().join("img/b/3")).unwrap();
        let listing = list(root.path()).unwrap();
        let names: Vec<String> = listing.files.iter().map(|it| it.parts.join("/")).collect();
        assert_eq!(
            names,
            [
                "csv/b/d/1/x.csv",
                "img/b/1/Images/x.jpg",
                "img/b/2/Images/y.jpg"
            ]
        );
        assert_eq!(listing.files[2].bytes, 2);
        assert!(listing.classes.is_some());
        #[cfg(unix)]
        assert_eq!(
            listing.skipped.iter().map(|it| it.code).collect::<Vec<_>>(),
            ["symbolic_link"]
        );
    }

    #[test]
    fn a_folder_of_bare_images_is_told_from_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(
            list(root.path()),
            Err(LayoutError::NoTrees { .. })
        ));
        write(root.path(), "IMG001.JPG", "");
        assert!(matches!(
            list(root.path()),
            Err(LayoutError::BareImages { .. })
        ));
        assert!(matches!(
            list(&root.path().join("IMG001.JPG")),
            Err(LayoutError::File { .. })
        ));
        assert!(matches!(
            list(&root.path().join("no")),
            Err(LayoutError::Unreadable { .. })
        ));
    }
}
