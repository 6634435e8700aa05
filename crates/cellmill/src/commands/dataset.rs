//! `dataset`: make data sets, and look at them.

use cellmill_api::views::{DatasetView, NewDataset};
use cellmill_core::ids::{BatchId, CaseId, Dir, TableName};
use cellmill_core::keys::JobKind;

use crate::cli::table::Table;
use crate::cli::{Console, Error, Exit, ServerArgs};

use super::jobs::{self, state_of};

/// Make data sets, and look at them
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DatasetCommand {
    Create(Box<CreateArgs>),
    Show(DirArgs),
    Ls(LsArgs),
    Files(DirArgs),
}

/// Cut the cells of chosen batches and cases into a new data set
#[derive(Clone, Debug, clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// A batch (may be repeated) [default with --label-type: all batches]
    #[arg(long, value_name = "BATCH", required_unless_present = "label_type")]
    batch: Vec<BatchId>,
    /// Only this case (may be repeated) [default: all cases of the batches]
    #[arg(long, value_name = "CASE")]
    case: Vec<CaseId>,
    /// Only images with a label of this type
    #[arg(long, value_name = "NAME")]
    label_type: Option<TableName>,
    /// Where cells come from: 0 a detector, 1 the doctors' points, 2 detections that a point confirms, 3 whole
    /// images with the class of their label
    #[arg(long = "type", value_name = "TYPE", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    data_type: u8,
    /// Side of a crop in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = cellmill_core::boxes::DEFAULT_CROP_SIZE)]
    size: u32,
    /// Show the detector a grey image (1) or a coloured one (0); crops are always coloured
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    gray: u8,
    /// The detector; 0 is the classical finder
    #[arg(long, value_name = "MODEL", default_value_t = 0)]
    mid: u64,
    /// With a detector: leave out boxes that are less sure, 0 to 1 [default: the detector's own threshold]
    #[arg(long, value_name = "SCORE", value_parser = super::numbers::finite)]
    min_score: Option<f64>,
    /// Of two detections whose centres are no further apart, take the surer one, in pixels [default: 10]
    #[arg(long, value_name = "PIXELS")]
    min_distance: Option<u32>,
    /// Also write every cell as a PNG of its own (1) or only packs (0)
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    cache: u8,
    /// Type 2: how far a detection may be from its point, in pixels
    #[arg(long, value_name = "PIXELS")]
    match_radius: Option<u32>,
    /// Type 2: match boxes by their overlap instead, 0 to 1
    #[arg(long, value_name = "IOU", conflicts_with = "match_radius", value_parser = super::numbers::finite)]
    match_iou: Option<f64>,
    /// Directory of the data set, letters and digits [default: a random one]
    #[arg(long)]
    dir: Option<Dir>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Wait until it is done
    #[arg(long)]
    wait: bool,
}

/// A data set by its directory.
#[derive(Clone, Debug, clap::Args)]
pub struct DirArgs {
    /// Its directory, such as `DkxD9Kjl`
    dir: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// List all data sets
#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(command: DatasetCommand, console: &mut Console) -> Result<Exit, Error> {
    match command {
        DatasetCommand::Create(args) => create(&args, console).await,
        DatasetCommand::Show(args) => show(&args, console).await,
        DatasetCommand::Ls(args) => ls(&args, console).await,
        DatasetCommand::Files(args) => files(&args, console).await,
    }
}

async fn create(args: &CreateArgs, console: &mut Console) -> Result<Exit, Error> {
    let client = args.server.client()?;
    let wish = NewDataset {
        description: args.description.clone().unwrap_or_default(),
        dir: args.dir.clone(),
        batches: args.batch.clone(),
        cases: args.case.clone(),
        parameter_gray: args.gray,
        parameter_size: args.size,
        parameter_type: args.data_type,
        parameter_mid: args.mid,
        min_score: args.min_score,
        min_distance: args.min_distance,
        parameter_cache: args.cache,
        match_radius: args.match_radius,
        match_iou: args.match_iou,
        label_type: args.label_type.clone(),
    };
    let made = client.create_dataset(&wish).await?;
    if !args.wait {
        console.answer(&made, |console, made| {
            console.line(format_args!("data set {} in {}", made.number, made.dir))
        })?;
        return Ok(Exit::Ok);
    }
    let job = jobs::wait(&client, JobKind::Data, made.dir.as_str(), console).await?;
    let view = client.dataset(made.dir.as_str()).await?;
    console.answer(&view, show_view)?;
    Ok(jobs::exit_of(&job))
}

async fn show(args: &DirArgs, console: &mut Console) -> Result<Exit, Error> {
    let view = args.server.client()?.dataset(&args.dir).await?;
    console.answer(&view, show_view)?;
    Ok(Exit::Ok)
}

fn show_view(console: &mut Console, view: &DatasetView) -> Result<(), Error> {
    let mut table = Table::of_pairs();
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("data set", view.number.to_string());
    row("directory", view.dir.to_string());
    if !view.description.is_empty() {
        row("for", view.description.clone());
    }
    row("state", state_of(console, &view.job));
    row("percent", view.job.percent.to_string());
    if let Some(error) = &view.job.error {
        row("error", error.clone());
    }
    if let Some(counts) = &view.statistics {
        row("images", counts.origin_total.to_string());
        row("images with cells", counts.fovcnt.to_string());
        row("batches", counts.batchcnt.to_string());
        row("cases", counts.medicalcnt.to_string());
        row("cells", counts.cells_total.to_string());
        row("labels", counts.labelcnt.to_string());
        for class in counts.types.iter().flatten() {
            let name = class.name.as_deref().unwrap_or_default();
            row(
                &format!("class {} {name}", class.celltype),
                class.labelcnt.to_string(),
            );
        }
    }
    let left_out = view
        .job
        .result
        .as_ref()
        .and_then(|it| it["n_left_out"].as_u64());
    if let Some(n) = left_out.filter(|n| *n > 0) {
        row(
            "left out",
            format!("{n} images, see snapshot.json and log.txt"),
        );
    }
    if let Some(snapshot) = &view.snapshot {
        row("snapshot", snapshot.clone());
    }
    console.line(table.render())
}

async fn ls(args: &LsArgs, console: &mut Console) -> Result<Exit, Error> {
    let views = args.server.client()?.datasets().await?;
    console.answer(&views, |console, views| {
        if views.is_empty() {
            return console.line("no data sets");
        }
        let mut table = Table::new(["number", "directory", "state", "percent", "for"]);
        for view in views {
            table.row([
                view.number.to_string(),
                view.dir.to_string(),
                state_of(console, &view.job),
                view.job.percent.to_string(),
                view.description.clone(),
            ]);
        }
        console.line(table.render())
    })?;
    Ok(Exit::Ok)
}

async fn files(args: &DirArgs, console: &mut Console) -> Result<Exit, Error> {
    let files = args.server.client()?.dataset_files(&args.dir).await?;
    console.answer(&files, |console, files| {
        let mut table = Table::new(["file", "bytes"]);
        for file in files {
            table.row([file.name.clone(), file.bytes.to_string()]);
        }
        console.line(table.render())
    })?;
    Ok(Exit::Ok)
}
