//! Where an uploaded file belongs: pure, from what its sender says of it.

use cellmill_core::ids::{BatchId, CaseId, IdError, ImageName, PointsDate, Stem, TableName, shown};
use cellmill_core::keys::{CsvKey, ImageKey, ImageRoot, ObjectKey};
use cellmill_core::records::Rejection;
use cellmill_core::split::Part;
use cellmill_store::uploads::Sha256Hex;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::parts::Settings;

/// A longer name says nothing more to anybody, and it is kept in a record.
const MAX_ORIGINAL_NAME_BYTES: usize = 8192;
const MAX_CONTENT_TYPE_BYTES: usize = 100;

/// The tree that an image lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileTree {
    /// `img/`: names as they are.
    Hospital,
    /// `scratch/img/`: names URL-encoded.
    Upload,
}

impl From<ImageRoot> for FileTree {
    fn from(root: ImageRoot) -> Self {
        match root {
            ImageRoot::Hospital => Self::Hospital,
            ImageRoot::Upload => Self::Upload,
        }
    }
}

impl From<FileTree> for ImageRoot {
    fn from(tree: FileTree) -> Self {
        match tree {
            FileTree::Hospital => Self::Hospital,
            FileTree::Upload => Self::Upload,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A photograph.
    Image,
    /// A doctor's points for one image, as CSV.
    Points,
}

/// The part of the data that an image belongs to, as the folder says that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilePart {
    /// A network learns from it.
    Train,
    /// It decides when a training has learned enough. `val` is read, too.
    #[serde(alias = "val")]
    Validation,
    /// It judges a network.
    Test,
}

impl From<FilePart> for Part {
    fn from(part: FilePart) -> Self {
        match part {
            FilePart::Train => Self::Train,
            FilePart::Validation => Self::Validation,
            FilePart::Test => Self::Test,
        }
    }
}

impl From<Part> for FilePart {
    fn from(part: Part) -> Self {
        match part {
            Part::Train => Self::Train,
            Part::Validation => Self::Validation,
            Part::Test => Self::Test,
        }
    }
}

/// A file that somebody wants to send.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadFile {
    /// The tree of the image; for points, the tree of the image that they belong to.
    pub root: FileTree,
    pub kind: FileKind,
    pub batch: String,
    pub case: String,
    /// The date folder of points, such as `2019-7-22`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The file's name as its owner wrote it, without folders.
    pub name: String,
    /// Its exact length.
    pub bytes: u64,
    /// Of its content, 64 hex digits.
    pub sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Images: how it is to be labelled, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_type: Option<String>,
    /// Images: the part of a fixed split that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<FilePart>,
}

/// A file whose place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) place: Place,
    pub(super) bytes: u64,
    pub(super) sha256: Sha256Hex,
    pub(super) content_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Image {
        key: ImageKey,
        /// The name, when the key does not hold it all.
        original_name: Option<String>,
        label_type: Option<TableName>,
        part: Option<Part>,
    },
    Points(CsvKey),
}

impl Place {
    pub(super) fn key(&self) -> ObjectKey {
        match self {
            Self::Image { key, .. } => ObjectKey::Image(key.clone()),
            Self::Points(key) => ObjectKey::Points(key.clone()),
        }
    }
}

/// Finds the place of a file, or says why it has none.
pub(super) fn plan(file: &UploadFile, settings: &Settings) -> Result<Planned, Rejection> {
    let place = match file.kind {
        FileKind::Image => image_place(file)?,
        FileKind::Points => points_place(file)?,
    };
    let limit = match file.kind {
        FileKind::Image => settings.max_image_bytes,
        FileKind::Points => settings.max_points_bytes,
    };
    if file.bytes > limit {
        let reason = format!("the file has {} bytes, the limit is {limit}", file.bytes);
        return Err(refused("too_large", reason));
    }
    let sha256 = Sha256Hex::parse(&file.sha256)
        .map_err(|it| refused("bad_sha256", format!("`{}`: {it}", shown(&file.sha256))))?;
    Ok(Planned {
        place,
        bytes: file.bytes,
        sha256,
        content_type: content_type(file)?,
    })
}

fn image_place(file: &UploadFile) -> Result<Place, Rejection> {
    check_name_length(&file.name)?;
    let name = match file.root {
        FileTree::Hospital => ImageName::of_hospital(&file.name),
        FileTree::Upload => ImageName::of_upload(&file.name),
    };
    let key = ImageKey {
        batch: BatchId::parse(&file.batch).map_err(bad("bad_batch"))?,
        case: CaseId::parse(&file.case).map_err(bad("bad_case"))?,
        root: file.root.into(),
        name: name.map_err(bad("bad_name"))?,
    };
    let label_type = file.label_type.as_deref().map(TableName::parse);
    let is_whole = key.original_name() == file.name;
    Ok(Place::Image {
        original_name: (!is_whole).then(|| file.name.clone()),
        label_type: label_type.transpose().map_err(bad("bad_label_type"))?,
        part: file.part.map(Part::from),
        key,
    })
}

fn points_place(file: &UploadFile) -> Result<Place, Rejection> {
    check_name_length(&file.name)?;
    let Some(date) = &file.date else {
        return Err(refused("bad_date", "points need a `date`".to_owned()));
    };
    let is_csv = file
        .name
        .rsplit_once('.')
        .is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("csv"));
    if !is_csv {
        let reason = format!("points are a `.csv`, not `{}`", shown(&file.name));
        return Err(refused("bad_name", reason));
    }
    // The stem must be that of the image's key, and an upload's key is URL-encoded.
    let stem = match file.root {
        FileTree::Hospital => Stem::of_original(&file.name),
        FileTree::Upload => ImageName::of_upload(&file.name).map(|it| it.stem()),
    };
    Ok(Place::Points(CsvKey {
        batch: BatchId::parse(&file.batch).map_err(bad("bad_batch"))?,
        date: PointsDate::parse(date).map_err(bad("bad_date"))?,
        case: CaseId::parse(&file.case).map_err(bad("bad_case"))?,
        stem: stem.map_err(bad("bad_name"))?,
    }))
}

fn check_name_length(name: &str) -> Result<(), Rejection> {
    if name.len() <= MAX_ORIGINAL_NAME_BYTES {
        return Ok(());
    }
    let reason = format!(
        "the name has {} bytes, the limit is {MAX_ORIGINAL_NAME_BYTES}",
        name.len()
    );
    Err(refused("bad_name", reason))
}

fn content_type(file: &UploadFile) -> Result<String, Rejection> {
    let default = match file.kind {
        FileKind::Image => "application/octet-stream",
        FileKind::Points => "text/csv",
    };
    let text = file.content_type.as_deref().unwrap_or(default);
    let is_header = HeaderValue::from_str(text).is_ok_and(|it| it.to_str().is_ok());
    if !is_header || text.is_empty() || text.len() > MAX_CONTENT_TYPE_BYTES {
        let reason = format!("`{}` is no content type", shown(text));
        return Err(refused("bad_content_type", reason));
    }
    Ok(text.to_owned())
}

fn bad(code: &'static str) -> impl Fn(IdError) -> Rejection {
    move |error| refused(code, error.to_string())
}

pub(super) fn refused(code: &str, reason: String) -> Rejection {
    Rejection {
        code: code.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(root: FileTree, name: &str) -> UploadFile {
        UploadFile {
            root,
            kind: FileKind::Image,
            batch: "b".to_owned(),
            case: "c".to_owned(),
            date: None,
            name: name.to_owned(),
            bytes: 3,
            sha256: "ab".repeat(32),
            content_type: None,
            label_type: None,
            part: None,
        }
    }

    fn points(root: FileTree, name: &str) -> UploadFile {
        UploadFile {
            kind: FileKind::Points,
            date: Some("2019-7-22".to_owned()),
            ..image(root, name)
        }
    }

    fn stem_of(file: &UploadFile) -> Stem {
        match plan(file, &Settings::default()).unwrap().place {
            Place::Image { key, .. } => key.name.stem(),
            Place::Points(key) => key.stem,
        }
    }

    #[test]
    fn points_and_their_image_share_a_stem_in_both_trees() {
        for root in [FileTree::Hospital, FileTree::Upload] {
            for name in ["IMG001x014", "汉 子%", &"字".repeat(60), "a.b"] {
                let image = image(root, &format!("{name}.JPG"));
                let points = points(root, &format!("{name}.csv"));
                assert_eq!(stem_of(&image), stem_of(&points), "{root:?} {name}");
            }
        }
    }

    #[test]
    fn only_a_name_that_the_key_cannot_hold_is_remembered() {
        let original = |name: &str| match plan(&image(FileTree::Upload, name), &Settings::default())
        {
            Ok(Planned {
                place: Place::Image { original_name, .. },
                ..
            }) => original_name,
            other => panic!("{other:?}"),
        };
        assert_eq!(original("汉 子.JPG"), None);
        let long = format!("{}.JPG", "汉".repeat(100));
        assert_eq!(original(&long), Some(long.clone()));
    }

    #[test]
    fn each_rule_has_its_code() {
        let good = || image(FileTree::Hospital, "a.jpg");
        let code = |file: UploadFile| plan(&file, &Settings::default()).unwrap_err().code;
        let text = str::to_owned;
        for (file, expected) in [
            (
                UploadFile {
                    batch: text("img"),
                    ..good()
                },
                "bad_batch",
            ),
            (
                UploadFile {
                    case: text("a/b"),
                    ..good()
                },
                "bad_case",
            ),
            (
                UploadFile {
                    name: text(".."),
                    ..good()
                },
                "bad_name",
            ),
            (
                UploadFile {
                    name: "a".repeat(9000),
                    ..good()
                },
                "bad_name",
            ),
            (
                UploadFile {
                    bytes: (256 << 20) + 1,
                    ..good()
                },
                "too_large",
            ),
            (
                UploadFile {
                    sha256: text("abc"),
                    ..good()
                },
                "bad_sha256",
            ),
            (
                UploadFile {
                    content_type: Some(text("a\nb")),
                    ..good()
                },
                "bad_content_type",
            ),
            (
                UploadFile {
                    label_type: Some(text("a/b")),
                    ..good()
                },
                "bad_label_type",
            ),
            (
                UploadFile {
                    date: None,
                    ..points(FileTree::Hospital, "a.csv")
                },
                "bad_date",
            ),
            (
                UploadFile {
                    bytes: (64 << 20) + 1,
                    ..points(FileTree::Hospital, "a.csv")
                },
                "too_large",
            ),
            (points(FileTree::Hospital, "a.txt"), "bad_name"),
        ] {
            assert_eq!(code(file.clone()), expected, "{file:?}");
        }
    }
}
