//! `eval segment`: label images against label images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cellmill_core::detection::instances::{ImageFigures, MeanFigures, Overlap};
use cellmill_vision::{LabelImage, Limits, decode_labels};
use rayon::prelude::*;
use serde::Serialize;

use crate::cli::{Console, Error, Exit};

use super::shown;

/// Measure masks against true masks: F1, average precision and Dice of label images
///
/// A label image is a PNG in grey, of 16 bits as a rule: each pixel has the number of its cell, 0 where there is none.
/// Both folders hold the same file names. A cell counts as found when it overlaps by more than a half; average
/// precision is that of the nuclei challenge of 2018, TP / (TP + FP + FN).
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SegmentArgs {
    /// The folder of true label images
    #[arg(long, value_name = "DIR")]
    truth: PathBuf,
    /// The folder of label images that were found
    #[arg(long, value_name = "DIR")]
    masks: PathBuf,
}

/// What `eval segment` answers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Segmented {
    #[serde(flatten)]
    pub(super) mean: MeanFigures,
    pub(super) per_image: Vec<OfImage>,
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct OfImage {
    pub(super) image: String,
    #[serde(flatten)]
    pub(super) figures: ImageFigures,
}

pub(super) fn run(args: &SegmentArgs, console: &mut Console) -> Result<Exit, Error> {
    let segmented = measure(&args.truth, &args.masks)?;
    console.answer(&segmented, shown::segmented)?;
    Ok(Exit::Ok)
}

fn measure(truth: &Path, masks: &Path) -> Result<Segmented, Error> {
    let (truths, mut founds) = (label_files(truth)?, label_files(masks)?);
    let mut pairs = Vec::with_capacity(truths.len());
    for (name, of_truth) in truths {
        let found = founds.remove(&name).ok_or_else(|| Error::Usage {
            what: format!(
                "`{}` has no `{name}`, which `{}` has",
                masks.display(),
                truth.display()
            ),
            hint: Some(
                "write a label image for every picture; one in which nothing was found is all 0"
                    .to_owned(),
            ),
        })?;
        pairs.push((name, of_truth, found));
    }
    let compared: Vec<_> = pairs
        .par_iter()
        .map(|(_, truth, found)| overlap(truth, found))
        .collect();
    // The first error by name, whichever came first.
    let overlaps: Vec<_> = compared.into_iter().collect::<Result<_, _>>()?;
    let mean = MeanFigures::of(&overlaps).ok_or_else(|| Error::Usage {
        what: format!("`{}` holds no PNG", truth.display()),
        hint: Some("give the folder of the label images itself".to_owned()),
    })?;
    let per_image = pairs.into_iter().zip(&overlaps);
    Ok(Segmented {
        mean,
        per_image: per_image
            .map(|((image, ..), overlap)| OfImage {
                image,
                figures: overlap.figures(),
            })
            .collect(),
        notes: if founds.is_empty() {
            Vec::new()
        } else {
            vec![format!(
                "left out, without truth: {} label images",
                founds.len()
            )]
        },
    })
}

/// The PNGs of a folder by name.
fn label_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let path = entry.map_err(Error::file("read", folder))?.path();
        let is_png = path
            .extension()
            .is_some_and(|it| it.eq_ignore_ascii_case("png"));
        if let Some(name) = path.file_name().and_then(|it| it.to_str())
            && is_png
            && path.is_file()
        {
            files.insert(name.to_owned(), path.clone());
        }
    }
    Ok(files)
}

fn overlap(truth: &Path, found: &Path) -> Result<Overlap, Error> {
    let (truth, of_found) = (labels(truth)?, labels(found)?);
    let sizes = [&truth, &of_found].map(|it| (it.width, it.height));
    if sizes[0] != sizes[1] {
        return Err(Error::malformed(
            found,
            format!(
                "it is {} x {} pixels, the truth is {} x {}",
                sizes[1].0, sizes[1].1, sizes[0].0, sizes[0].1
            ),
            "write label images of the size of their pictures",
        ));
    }
    Ok(Overlap::between(&truth.ids, &of_found.ids).expect("both are of one size"))
}

fn labels(path: &Path) -> Result<LabelImage, Error> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    decode_labels(&bytes, &Limits::default()).map_err(|refusal| {
        let cause = std::error::Error::source(&refusal);
        let cause = cause.map_or_else(String::new, |it| format!(": {it}"));
        let hint = "write a PNG in grey of 16 bits, each pixel the number of its cell";
        Error::malformed(path, format!("{refusal}{cause}"), hint)
    })
}
