//! `images` and `image`: what the server knows of photographs.

use cellmill_api::views::ImageView;
use cellmill_core::records::ImageState;
use chrono::{DateTime, Utc};

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, ServerArgs, Tone};

/// List images
#[derive(Clone, Debug, clap::Args)]
pub struct ImagesArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Only this batch
    #[arg(long)]
    batch: Option<String>,
    /// Only this case
    #[arg(long, requires = "batch")]
    case: Option<String>,
    /// Only images in this state
    #[arg(long, value_parser = ["expected", "ok", "rejected", "conflict"])]
    state: Option<String>,
}

/// Show what is known of one image
#[derive(Clone, Debug, clap::Args)]
pub struct ImageArgs {
    /// Its key: img/<batch>/<case>/Images/<name>
    key: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn list(args: &ImagesArgs, console: &mut Console) -> Result<Exit, Error> {
    let filters = [
        ("batch", args.batch.as_deref().unwrap_or_default()),
        ("case", args.case.as_deref().unwrap_or_default()),
        ("state", args.state.as_deref().unwrap_or_default()),
    ];
    let images = args.server.client()?.images(&filters).await?;
    console.answer(&images, |console, images| {
        if images.is_empty() {
            return console.line("no images");
        }
        let mut table = Table::new(["image", "state", "size", "bytes", "remark"]);
        for image in images {
            table.row([
                image.key.to_path(),
                state_of(console, image),
                size(image),
                table::bytes(image.bytes),
                remark(image),
            ]);
        }
        console.line(table.render())?;
        console.line(format_args!("\n{} images", images.len()))
    })?;
    Ok(Exit::Ok)
}

pub(crate) async fn one(args: &ImageArgs, console: &mut Console) -> Result<Exit, Error> {
    let image = args.server.client()?.image(&args.key).await?;
    console.answer(&image, |console, image| {
        let mut table = Table::of_pairs();
        let mut row = |what: &str, value: String| {
            if !value.is_empty() {
                table.row([what.to_owned(), value]);
            }
        };
        row("image", image.key.to_path());
        row("name", image.name.clone());
        row("number", image.imgid.to_string());
        row("state", state_of(console, image));
        row("size", size(image));
        row("format", image.format.clone().unwrap_or_default());
        row("bytes", image.bytes.to_string());
        row("sha256", image.sha256.clone().unwrap_or_default());
        let at = |it: Option<DateTime<Utc>>| it.map(table::moment).unwrap_or_default();
        row("received", at(image.received_at));
        row("recorded", at(image.recorded_at));
        row("remark", remark(image));
        console.line(table.render())
    })?;
    Ok(Exit::Ok)
}

fn state_of(console: &Console, image: &ImageView) -> String {
    match image.state {
        ImageState::Ok => console.paint(Tone::Good, "ok"),
        ImageState::Expected => console.paint(Tone::Busy, "expected"),
        ImageState::Rejected => console.paint(Tone::Bad, "rejected"),
        ImageState::Conflict => console.paint(Tone::Bad, "conflict"),
    }
}

fn size(image: &ImageView) -> String {
    match (image.width, image.height) {
        (Some(w), Some(h)) => format!("{w} x {h}"),
        _ => String::new(),
    }
}

fn remark(image: &ImageView) -> String {
    match &image.rejection {
        Some(rejection) => rejection.reason.clone(),
        None if image.conflict.is_some() => "other bytes came under this key".to_owned(),
        None => image.notes.join(", "),
    }
}
