//! The command: find the image, gather its boxes, draw, write.

use std::path::PathBuf;

use cellmill_core::ids::Dir;
use cellmill_vision::draw::draw_marks;
use cellmill_vision::{Limits, decode, encode_png};
use serde::Serialize;

use crate::cli::{Console, Error, Exit, ServerArgs};
use crate::commands::root;

use super::marks::marks;
use super::source::{Source, classes_beside, truth};
use super::subject::Subject;

/// Write an image with its boxes as a PNG
///
/// Shows what the label says. With --dataset it shows what a data set cut: the crop in grey and the cell in the
/// colour of its class. With --truth it shows the CSV beside the image file, and needs no server.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// The image: its key, or the path of its file in a folder of the layout
    image: String,
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
    /// Show the doctor's CSV that lies beside the image file
    #[arg(long)]
    truth: bool,
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
    let subject = Subject::parse(&args.image).ok_or_else(|| Error::Usage {
        what: format!(
            "`{}` is neither an image's key nor a file in the layout",
            args.image
        ),
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
    let classes = if args.truth {
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
