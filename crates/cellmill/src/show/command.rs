//! The command: find the image, gather its boxes, draw, write.

use std::path::PathBuf;

use cellmill_core::ids::Dir;
use cellmill_vision::draw::draw_marks;
use cellmill_vision::{Limits, decode, encode_png};
use serde::Serialize;

use crate::cli::{Console, Error, Exit, ServerArgs};
use crate::commands::root;

use super::compare::{self, Compare};
use super::marks::marks;
use super::source::{Source, classes_beside, truth};
use super::subject::Subject;

/// Write an image with its boxes as a PNG
///
/// Shows what the label says. With --dataset it shows what a data set cut: the crop in grey and the cell in the
/// colour of its class. With --truth it shows the CSV beside the image file, and needs no server. With --detections it
/// shows hits, misses and false alarms of a file of detections, each in its colour, and needs no server either.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ShowArgs {
    /// The image: its key, or the path of its file in a folder of the layout; with --detections any image file
    #[arg(required_unless_present = "truth")]
    image: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Read this root folder instead of asking a server
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The PNG to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Show the cells of this data set
    #[arg(long, value_name = "DIR")]
    dataset: Option<Dir>,
    /// Show the doctor's CSV that lies beside the image file; with --detections, a CSV or COCO file may be named
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[expect(
        clippy::option_option,
        reason = "clap's form of an option whose value may be left out"
    )]
    truth: Option<Option<PathBuf>>,
    /// Compare the truth with these detections: COCO results, or rows of image, x1, y1, x2, y2, class, score
    #[arg(long, value_name = "FILE", requires = "truth", conflicts_with_all = ["dataset", "root"])]
    detections: Option<PathBuf>,
    /// With --detections: do not tell classes apart
    #[arg(long, requires = "detections")]
    agnostic: bool,
    /// With --detections: only those of this score and more
    #[arg(long, value_name = "SCORE", requires = "detections", value_parser = crate::commands::numbers::finite)]
    score: Option<f64>,
}

const EXAMPLES: &str = "\
Examples:
  cellmill show img/b1/1811001/Images/x.JPG --out field.png
      what the label of an image of the server says
  cellmill show smears/img/b1/1811001/Images/x.JPG --truth --out field.png
      the newest CSV under smears/csv/
  cellmill show x.JPG --truth x.csv --detections found.json --score 0.5 --out field.png
      hits, misses and false alarms";

impl ShowArgs {
    /// The image, and whether the truth is asked for. `--truth IMAGE` is an image behind a bare `--truth`.
    fn image(&self) -> Result<(&str, bool), Error> {
        match (&self.image, &self.truth) {
            (Some(image), None) => Ok((image, false)),
            (Some(image), Some(None)) => Ok((image, true)),
            (Some(image), Some(Some(_))) if self.detections.is_some() => Ok((image, true)),
            (Some(_), Some(Some(_))) => Err(Error::usage(
                "--truth takes a file only together with --detections",
            )),
            (None, Some(Some(image))) => image
                .to_str()
                .map(|it| (it, true))
                .ok_or_else(|| Error::usage("the path of the image is not UTF-8")),
            (None, _) => Err(Error::usage("there is no image to show")),
        }
    }
}

#[derive(Serialize)]
struct Shown {
    key: String,
    out: String,
    width: u32,
    height: u32,
    cells: usize,
}

pub async fn run(args: &ShowArgs, console: &mut Console) -> Result<Exit, Error> {
    let (image, with_truth) = args.image()?;
    if let Some(detections) = &args.detections {
        let truth = args.truth.as_ref().and_then(Option::as_deref);
        let compare = Compare {
            image: image.as_ref(),
            truth: truth.filter(|_| args.image.is_some()),
            detections,
            is_agnostic: args.agnostic,
            min_score: args.score,
            out: &args.out,
        };
        return compare::run(compare, console);
    }
    let subject = Subject::parse(image).ok_or_else(|| Error::Usage {
        what: format!("`{image}` is neither an image's key nor a file in the layout"),
        hint: Some("a key is img/<batch>/<case>/Images/<name>".to_owned()),
    })?;
    let source = match &args.root {
        Some(root) => Source::Folder(root::open(root).await?),
        None => Source::Server(args.server.client()?),
    };
    let bytes = match (&subject.file, &args.root) {
        (Some(file), None) => std::fs::read(file).map_err(Error::file("read", file))?,
        _ => source.image(&subject.key).await?,
    };
    let mut cells = Vec::new();
    if let Some(dir) = &args.dataset {
        cells.extend(source.cells(dir, &subject.key).await?);
    }
    let classes = if with_truth {
        let folder = subject.folder.as_deref().ok_or_else(|| {
            Error::usage("--truth needs the path of an image file, with csv/ beside its img/")
        })?;
        cells.extend(truth(folder, &subject.key)?);
        classes_beside(folder)?
    } else {
        if args.dataset.is_none() {
            cells.extend(source.label(&subject.key).await?);
        }
        source.classes().await?
    };
    let mut image = decode(&bytes, &Limits::default())
        .map_err(Error::inner("decode the image"))?
        .image;
    draw_marks(&mut image, &marks(&cells, &classes));
    std::fs::write(&args.out, encode_png(&image)).map_err(Error::file("write", &args.out))?;
    let shown = Shown {
        key: subject.key.to_path(),
        out: args.out.display().to_string(),
        width: image.width,
        height: image.height,
        cells: cells.len(),
    };
    console.answer(&shown, |console, it| {
        console.line(format_args!(
            "{} cells on {} x {} in {}",
            it.cells, it.width, it.height, it.out
        ))
    })?;
    Ok(Exit::Ok)
}
