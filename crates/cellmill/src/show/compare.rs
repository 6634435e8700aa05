//! `show --detections`: an image file, what is true of it and what was found, without a server.

use std::path::{Path, PathBuf};

use cellmill_core::detection::{Rule, Scene, matches};
use cellmill_vision::{Limits, decode, encode_png};
use serde::Serialize;

use crate::cli::{Console, Error, Exit};
use crate::eval::{self, Name, TruthSet};

use super::compare_marks::drawn;
use super::source::csv_beside;
use super::subject::Subject;

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compare<'a> {
    pub(super) image: &'a Path,
    /// `None`: the CSV beside the image.
    pub(super) truth: Option<&'a Path>,
    pub(super) detections: &'a Path,
    pub(super) is_agnostic: bool,
    pub(super) min_score: Option<f64>,
    pub(super) out: &'a Path,
}

#[derive(Serialize)]
struct Compared {
    image: String,
    out: String,
    width: u32,
    height: u32,
    hits: usize,
    misses: usize,
    false_alarms: usize,
    wrong_class: usize,
    ignored: usize,
}

pub(super) fn run(args: Compare<'_>, console: &mut Console) -> Result<Exit, Error> {
    let bytes = std::fs::read(args.image).map_err(Error::file("read", args.image))?;
    let image = decode(&bytes, &Limits::default())
        .map_err(Error::inner("decode the image"))?
        .image;
    let (set, scene) = scene(&args, console)?;
    let rule = Rule {
        is_agnostic: args.is_agnostic,
        min_score: args.min_score.unwrap_or(f64::NEG_INFINITY),
        ..Rule::default()
    };
    let matches = matches(&scene, &rule);
    let picture = drawn(image, &scene, &matches, &set.classes);
    std::fs::write(args.out, encode_png(&picture)).map_err(Error::file("write", args.out))?;
    let compared = Compared {
        image: args.image.display().to_string(),
        out: args.out.display().to_string(),
        width: picture.width,
        height: picture.height,
        hits: matches.hits.len(),
        misses: matches.misses.len(),
        false_alarms: matches.false_alarms.len(),
        wrong_class: matches.wrong_class.len(),
        ignored: matches.ignored.len(),
    };
    console.answer(&compared, |console, it| {
        console.line(format_args!(
            "{} hits, {} misses, {} false alarms, {} of another class, in {}",
            it.hits, it.misses, it.false_alarms, it.wrong_class, it.out
        ))
    })?;
    Ok(Exit::Ok)
}

/// The image's cells, and those of the detections that are of this image or name none.
fn scene(args: &Compare<'_>, console: &Console) -> Result<(TruthSet, Scene), Error> {
    let set = truth(args)?;
    let name = Name::Text(args.image.display().to_string());
    let image = set.image(&name, &set.path, "what is compared")?;
    let truth = set.images[image]
        .truth
        .clone()
        .ok_or_else(|| Error::usage(format!("`{}` has no true boxes", set.images[image].name)))?;
    let detections = eval::read_detections(args.detections)?;
    let mut found = Vec::new();
    for it in &detections {
        if it.image.as_ref().is_none_or(|it| set.is_of(it, image)) {
            found.push(set.found(it, args.detections, args.is_agnostic)?);
        }
    }
    if found.is_empty() && !detections.is_empty() {
        console.note(format_args!(
            "note: none of the {} detections is of this image",
            detections.len()
        ));
    }
    Ok((set, Scene { truth, found }))
}

fn truth(args: &Compare<'_>) -> Result<TruthSet, Error> {
    let subject = args.image.to_str().and_then(Subject::parse);
    let folder = subject.as_ref().and_then(|it| it.folder.as_deref());
    let classes = folder.map(|it| it.join("classes.json"));
    let table: PathBuf = match args.truth {
        Some(path) if path.extension().is_some_and(|it| it == "csv") => path.to_owned(),
        Some(path) => return TruthSet::read(path),
        None => subject
            .as_ref()
            .zip(folder)
            .and_then(|(it, folder)| csv_beside(folder, &it.key).transpose())
            .transpose()?
            .ok_or_else(|| Error::Usage {
                what: format!("`{}` has no CSV beside it", args.image.display()),
                hint: Some("name the true boxes: --truth FILE, a CSV or a COCO file".to_owned()),
            })?,
    };
    TruthSet::of_one(
        &table,
        args.image,
        classes.filter(|it| it.is_file()).as_deref(),
    )
}
