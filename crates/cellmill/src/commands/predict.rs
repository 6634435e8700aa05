//! `predict` and `eval`: what a model says of cells, and how often it is right.

use cellmill_api::views::{NewDataset, NewProject, ProjectView};
use cellmill_core::formats::ClassResult;
use cellmill_core::ids::{BatchId, CaseId, Dir};
use cellmill_core::job::JobState;
use cellmill_core::keys::JobKind;
use cellmill_core::messages::UnitClass;
use cellmill_core::model::{Measured, ModelClass};
use serde::{Deserialize, Serialize};

use crate::cli::table::Table;
use crate::cli::{Console, Error, Exit, ServerArgs};
use crate::client::Client;

use super::class_names::ClassNames;
use super::figures::{share, show_classes, show_confusion, show_figures};
use super::jobs::{self, state_of};

const EXAMPLES: &str = "\
Examples:
  cellmill predict DkxD9Kjl --model 100
      every cell of the data set; with figures, as its cells are labelled
  cellmill predict --batch b1 --case 1811001 --model 100
      a case of new images: its cells are found first
  cellmill predict DkxD9Kjl --model 100 --binary --recall 0.95
      negative or positive, by the threshold that keeps 95 % of the positive cells
  cellmill predict DkxD9Kjl --model 100 --min-side 20 --filter-model 103
      what is too small is class 201, what model 103 calls no cell is class 200";

/// Let a model say what the cells of a data set, or of new images, are
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PredictArgs {
    /// The data set's directory, such as `DkxD9Kjl`; one that is being made is waited for
    #[arg(
        value_name = "DATASET",
        required_unless_present = "batch",
        conflicts_with_all = ["batch", "case", "data_type", "size", "detector"]
    )]
    dataset: Option<Dir>,
    #[command(flatten)]
    server: ServerArgs,
    /// The model
    #[arg(long, value_name = "MODEL")]
    model: u64,
    /// Instead of a data set: the cells of this batch (may be repeated)
    #[arg(long, value_name = "BATCH")]
    batch: Vec<BatchId>,
    /// Only this case of the batches (may be repeated)
    #[arg(long, value_name = "CASE", requires = "batch")]
    case: Vec<CaseId>,
    /// With --batch: where cells come from, as for `dataset create`
    #[arg(long = "type", value_name = "TYPE", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    data_type: u8,
    /// With --batch: side of a crop in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = cellmill_core::boxes::DEFAULT_CROP_SIZE)]
    size: u32,
    /// With --batch: the detector; 0 is the classical finder
    #[arg(long, value_name = "MODEL", default_value_t = 0)]
    detector: u64,
    /// Only cells of these classes of the data set, by id or name
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    types: Vec<String>,
    /// The data set's classes are not the truth
    #[arg(long)]
    unlabelled: bool,
    #[command(flatten)]
    options: Options,
}

/// Options that `predict` and `eval` share.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// Answer 50 (negative) or 51 (positive) instead of the model's classes
    #[arg(long)]
    binary: bool,
    /// Keep this share of the positive cells, 0 to 1, by what the model's validation says
    #[arg(long, value_name = "SHARE", requires = "binary", value_parser = super::numbers::finite)]
    recall: Option<f64>,
    /// Cells smaller than this on a side, in pixels, are class 201
    #[arg(long, value_name = "PIXELS")]
    min_side: Option<u32>,
    /// A model of two classes, cell and no cell: what it calls no cell is class 200
    #[arg(long, value_name = "MODEL")]
    filter_model: Option<u64>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Directory of the project, letters and digits [default: a random one]
    #[arg(long)]
    dir: Option<Dir>,
    /// Which workers serve it
    #[arg(long, value_name = "CLASS", value_parser = UnitClass::parse)]
    class: Option<UnitClass>,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
}

/// What `eval` asks the server to measure. `eval` has subcommands, too, which take none of it.
#[derive(Clone, Debug, clap::Args)]
pub struct EvalModelArgs {
    /// The model
    #[arg(value_name = "MODEL", required = true)]
    model: Option<u64>,
    /// The data set's directory
    #[arg(long, value_name = "DATASET", required = true)]
    dataset: Option<Dir>,
    #[command(flatten)]
    server: ServerArgs,
    /// Only cells of these classes of the data set, by id or name
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    types: Vec<String>,
    #[command(flatten)]
    options: Options,
}

impl Options {
    fn wish(&self, model: u64, types: Vec<u32>) -> NewProject {
        NewProject {
            description: self.description.clone().unwrap_or_default(),
            dir: self.dir.clone(),
            types,
            class: self.class.clone(),
            mid: Some(model),
            binary: self.binary,
            target_recall: self.recall,
            min_side: self.min_side,
            filter_mid: self.filter_model,
            ..NewProject::of_kind(JobKind::Predict)
        }
    }
}

impl PredictArgs {
    fn new_dataset(&self) -> NewDataset {
        NewDataset {
            batches: self.batch.clone(),
            cases: self.case.clone(),
            parameter_type: self.data_type,
            parameter_size: self.size,
            parameter_mid: self.detector,
            description: self.options.description.clone().unwrap_or_default(),
            ..NewDataset::default()
        }
    }
}

/// What a prediction brought.
#[derive(Clone, Debug, Serialize)]
struct Predicted {
    project: ProjectView,
    #[serde(skip)]
    names: ClassNames,
}

/// What the job says of its result.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    n: u64,
    n_filtered: u64,
    n_rejected: u64,
    /// Classes of truth and prediction, in the order of the figures.
    classes: Vec<ModelClass>,
    figures: Option<Measured>,
}

pub(crate) async fn run(args: &PredictArgs, console: &mut Console) -> Result<Exit, Error> {
    let client = args.server.client()?;
    let names = ClassNames::of_server(&client).await?;
    let types = names.ids(&args.types)?;
    let wish = NewProject {
        dataset: args.dataset.clone(),
        new_dataset: args.dataset.is_none().then(|| args.new_dataset()),
        parameter_type: args.unlabelled.then_some(0),
        ..args.options.wish(args.model, types)
    };
    submit(&client, names, &wish, args.options.no_wait, console).await
}

pub(crate) async fn eval(args: &EvalModelArgs, console: &mut Console) -> Result<Exit, Error> {
    let (Some(model), Some(dataset)) = (args.model, &args.dataset) else {
        return Err(Error::usage("`eval` needs a model and --dataset"));
    };
    let client = args.server.client()?;
    let names = ClassNames::of_server(&client).await?;
    let types = names.ids(&args.types)?;
    let wish = NewProject {
        dataset: Some(dataset.clone()),
        parameter_type: Some(1),
        ..args.options.wish(model, types)
    };
    submit(&client, names, &wish, args.options.no_wait, console).await
}

async fn submit(
    client: &Client,
    names: ClassNames,
    wish: &NewProject,
    no_wait: bool,
    console: &mut Console,
) -> Result<Exit, Error> {
    let made = client.create_project(wish).await?;
    if no_wait {
        console.answer(&made, |console, made| {
            console.line(format_args!("prediction {} in {}", made.number, made.dir))?;
            console.line(format_args!(
                "follow it: cellmill jobs watch {} --kind predict",
                made.dir
            ))
        })?;
        return Ok(Exit::Ok);
    }
    let dir = made.dir.as_str();
    let job = jobs::wait(client, JobKind::Predict, dir, console).await?;
    let predicted = Predicted {
        project: client.project(dir).await?,
        names,
    };
    console.answer(&predicted, show)?;
    Ok(jobs::exit_of(&job))
}

fn show(console: &mut Console, predicted: &Predicted) -> Result<(), Error> {
    let Predicted { project, names } = predicted;
    let (dir, job) = (&project.dir, &project.job);
    let report: Report = read(job.report.as_ref());
    let mut table = Table::of_pairs();
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("prediction", format!("{} in {dir}", project.number));
    row("state", state_of(console, job));
    if let Some(error) = &job.error {
        row("error", error.clone());
    }
    row("data set", project.dataset.to_string());
    row("model", project.mid.to_string());
    if job.state != JobState::Done {
        row("log", format!("cellmill jobs log {dir} --kind predict"));
        return console.line(table.render());
    }
    row("cells", report.n.to_string());
    if report.n_filtered > 0 {
        row("no cells, by the filters", report.n_filtered.to_string());
    }
    if report.n_rejected > 0 {
        row(
            "left out",
            format!("{} cells, see log.txt", report.n_rejected),
        );
    }
    console.line(table.render())?;
    let results: Vec<ClassResult> = read(job.result.as_ref());
    console.line("")?;
    console.line(by_class(&results, report.figures.is_some(), names))?;
    if let Some(figures) = &report.figures {
        let classes: Vec<String> = report
            .classes
            .iter()
            .map(|it| format!("{} {}", it.id, it.name))
            .collect();
        console.line("")?;
        show_figures(console, &[("figures", figures)])?;
        show_classes(console, &classes, figures)?;
        show_confusion(console, &classes, &figures.confusion)?;
    }
    console.line(format_args!(
        "\nto look at: projects/{dir}/predict2.json, projects/{dir}/predict/"
    ))
}

/// What is absent, or of a form that this program does not know, shows nothing.
fn read<T: Default + serde::de::DeserializeOwned>(value: Option<&serde_json::Value>) -> T {
    value
        .and_then(|it| serde_json::from_value(it.clone()).ok())
        .unwrap_or_default()
}

fn by_class(results: &[ClassResult], is_labelled: bool, names: &ClassNames) -> String {
    if !is_labelled {
        let mut table = Table::new(["predicted class", "cells"]);
        for it in results {
            table.row([names.shown(it.class), it.total.to_string()]);
        }
        return table.render();
    }
    let mut table = Table::new(["true class", "cells", "correct", "share"]);
    for it in results {
        let correct = match it.total {
            0 => String::new(),
            total => share(it.correct as f64 / total as f64),
        };
        table.row([
            names.shown(it.class),
            it.total.to_string(),
            it.correct.to_string(),
            correct,
        ]);
    }
    table.render()
}
