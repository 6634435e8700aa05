//! Which image is meant: a key, or a file in a folder of the documented layout.

use std::path::{Path, PathBuf};

use cellmill_core::ids::{BatchId, CaseId, IdError, ImageName};
use cellmill_core::keys::{ImageKey, ImageRoot};

/// An image, and the file and folder it was named by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) key: ImageKey,
    /// The file, when one lies at the path given.
    pub(super) file: Option<PathBuf>,
    /// The folder that holds `img/` and `csv/`.
    pub(super) folder: Option<PathBuf>,
}

impl Subject {
    /// `None`: neither a key nor the path of an image in the layout.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let path = Path::new(text);
        let file = path.is_file().then(|| path.to_owned());
        let (key, folder) = match text.parse::<ImageKey>() {
            Ok(key) => (key, PathBuf::from(".")),
            Err(_) => of_path(path)?,
        };
        Some(Self {
            key,
            folder: file.is_some().then_some(folder),
            file,
        })
    }
}

fn of_path(path: &Path) -> Option<(ImageKey, PathBuf)> {
    let parts: Vec<&str> = path.iter().map(|it| it.to_str()).collect::<Option<_>>()?;
    let [folder @ .., "img", batch, case, "Images", name] = parts.as_slice() else {
        return None;
    };
    let key = || -> Result<ImageKey, IdError> {
        Ok(ImageKey {
            batch: BatchId::parse(batch)?,
            case: CaseId::parse(case)?,
            root: ImageRoot::Hospital,
            name: ImageName::of_hospital(name)?,
        })
    };
    Some((key().ok()?, folder.iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_path_name_the_same_image() {
        let by_key = Subject::parse("img/b/c/Images/x.JPG").unwrap();
        let by_path = Subject::parse("/data/lab/img/b/c/Images/x.JPG").unwrap();
        assert_eq!(by_key.key, by_path.key);
        assert_eq!(by_path.file, None, "there is no such file");
        assert!(Subject::parse("/data/x.JPG").is_none());
    }

    #[test]
    fn an_upload_is_named_by_its_key() {
        let key = "scratch/img/b/c/Images/%E6%B1%89.JPG";
        assert_eq!(Subject::parse(key).unwrap().key.to_path(), key);
    }
}
