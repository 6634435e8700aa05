//! The truth of a COCO file.

use std::path::Path;

use cellmill_core::detection::Truth;
use serde::Deserialize;

use crate::cli::Error;

use super::names::{Meant, Name};
use super::truth::{TrueImage, TruthSet};

#[derive(Deserialize)]
struct CocoFile {
    images: Vec<CocoImage>,
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: Name,
    file_name: Option<String>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Name,
    category_id: u32,
    bbox: [f64; 4],
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: u32,
    name: String,
}

const COCO_FORM: &str = "a COCO file has images (id, file_name), annotations (image_id, category_id, bbox of x, y, width and height) \
     and categories (id, name)";

impl TruthSet {
    pub(super) fn of_coco(path: &Path) -> Result<Self, Error> {
        let refuse = |what: String| Error::malformed(path, what, COCO_FORM);
        let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
        let mut file: CocoFile =
            serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        file.images.sort_by(|a, b| a.id.cmp(&b.id));
        let mut set = Self {
            path: path.to_owned(),
            classes: file
                .categories
                .into_iter()
                .map(|it| (it.id, it.name))
                .collect(),
            ..Self::default()
        };
        for (at, image) in file.images.into_iter().enumerate() {
            if set.names.find(&image.id) != Meant::None {
                return Err(refuse(format!("there are two images `{}`", image.id)));
            }
            let name = image.file_name.unwrap_or_else(|| image.id.to_string());
            set.names.add_number(image.id, at);
            set.names.add_path(&name, at);
            set.images.push(TrueImage {
                name,
                truth: Some(Vec::new()),
            });
        }
        for (it, place) in file.annotations.into_iter().zip(1..) {
            let Meant::One(image) = set.names.find(&it.image_id) else {
                let what = format!(
                    "annotation {place} is of image `{}`, which is not listed",
                    it.image_id
                );
                return Err(refuse(what));
            };
            let [x, y, w, h] = it.bbox;
            let truth = Truth {
                class: it.category_id,
                bbox: [x, y, x + w, y + h],
                crowd: it.iscrowd != 0,
            };
            set.images[image].truth.get_or_insert_default().push(truth);
        }
        Ok(set)
    }
}
