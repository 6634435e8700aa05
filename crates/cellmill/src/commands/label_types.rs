//! `label-type` and `preannotate`: how images are labelled, and by which model they are pre-annotated.

use cellmill_api::views::{LabelTypeBody, LabelTypeView};
use cellmill_core::ids::TableName;

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, ServerArgs};
use crate::client::Client;

/// Look at label types, define them, train their models
#[derive(Clone, Debug, clap::Subcommand)]
pub enum LabelTypeCommand {
    /// List label types
    Ls(LsArgs),
    Set(SetArgs),
    Train(NameArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    server: ServerArgs,
}

const SET_EXAMPLES: &str = "\
Example:
  cellmill label-type set smears --algorithm 1101 --labels negative,positive --training-interval 30
      one of two classes for each image; a new model is trained every 30 days, and used when it is not worse";

/// Define a label type, or change what is given of one
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SET_EXAMPLES)]
pub struct SetArgs {
    /// Its name
    name: TableName,
    #[command(flatten)]
    server: ServerArgs,
    /// 0 cells, 1100 one class of many, 1101 one class of two, 1200 recognition, 1300 segmentation, 1400 caption
    #[arg(long, value_name = "NUMBER")]
    algorithm: Option<u32>,
    /// Names of the answers, in the order of a model's outputs
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// Train again when the last training is this many days old; 0: never by itself
    #[arg(long, value_name = "DAYS")]
    training_interval: Option<u32>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

/// Want a training now, however old the last one is
///
/// It is for label types of whole images (1100, 1101). The next sweep starts it; its model is used when it is not
/// worse than the one in use.
#[derive(Clone, Debug, clap::Args)]
pub struct NameArgs {
    /// Its name
    name: TableName,
    #[command(flatten)]
    server: ServerArgs,
}

/// Let a model label new images first, or no model
#[derive(Clone, Debug, clap::Subcommand)]
pub enum PreannotateCommand {
    On(OnArgs),
    Off(OffArgs),
}

/// Let a model label new images of a label type before a person does
///
/// What it says stands in a layer of its own: a person's word always counts for more.
#[derive(Clone, Debug, clap::Args)]
pub struct OnArgs {
    /// The label type
    #[arg(long = "type", value_name = "NAME")]
    name: TableName,
    /// The model
    #[arg(long, value_name = "MODEL")]
    model: u64,
    /// The detector that finds the cells which a classifier names [default: the one before, at first the classical finder]
    ///
    /// 0 is the classical finder. A model that is a detector itself needs none.
    #[arg(long, value_name = "MODEL")]
    detector: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Label new images of a label type by hand alone; what models said before stays
#[derive(Clone, Debug, clap::Args)]
pub struct OffArgs {
    /// The label type
    #[arg(long = "type", value_name = "NAME")]
    name: TableName,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(command: LabelTypeCommand, console: &mut Console) -> Result<Exit, Error> {
    match command {
        LabelTypeCommand::Ls(args) => {
            let types = args.server.client()?.label_types().await?;
            console.answer(&types, |console, types| show_all(console, types))?;
        }
        LabelTypeCommand::Set(args) => {
            let client = args.server.client()?;
            let before = existing(&client, &args.name).await?;
            let body = args.body(before)?;
            let view = client.put_label_type(args.name.as_str(), &body).await?;
            console.answer(&view, show)?;
        }
        LabelTypeCommand::Train(args) => {
            let client = args.server.client()?;
            let view = client.train_label_type(args.name.as_str()).await?;
            console.answer(&view, |console, view| {
                console.line(format_args!(
                    "the next sweep starts a training for label type {}",
                    view.name
                ))
            })?;
        }
    }
    Ok(Exit::Ok)
}

/// The label type, where there is one.
pub(crate) async fn existing(
    client: &Client,
    name: &TableName,
) -> Result<Option<LabelTypeView>, Error> {
    match client.label_type(name.as_str()).await {
        Ok(view) => Ok(Some(view)),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl SetArgs {
    fn body(&self, before: Option<LabelTypeView>) -> Result<LabelTypeBody, Error> {
        let (Some(algorithm), mut body) = (match before {
            Some(view) => (
                self.algorithm.or(Some(view.settings.algorithm)),
                view.settings,
            ),
            None => (self.algorithm, empty_body()),
        }) else {
            return Err(Error::Usage {
                what: format!(
                    "there is no label type `{}`: a new one needs --algorithm",
                    self.name
                ),
                hint: Some("`cellmill label-type set --help` lists the numbers".to_owned()),
            });
        };
        body.algorithm = algorithm;
        if let Some(labels) = &self.labels {
            body.labels.clone_from(labels);
        }
        if let Some(title) = &self.title {
            body.title.clone_from(title);
        }
        match self.training_interval {
            Some(0) => body.training_interval_days = None,
            Some(days) => body.training_interval_days = Some(days),
            None => {}
        }
        Ok(body)
    }
}

const fn empty_body() -> LabelTypeBody {
    LabelTypeBody {
        title: String::new(),
        algorithm: 0,
        labels: Vec::new(),
        mid: None,
        detector: None,
        training_interval_days: None,
    }
}

pub(crate) async fn preannotate(
    command: PreannotateCommand,
    console: &mut Console,
) -> Result<Exit, Error> {
    match command {
        PreannotateCommand::On(args) => {
            let client = args.server.client()?;
            if let Some(detector) = args.detector {
                let before = client.label_type(args.name.as_str()).await?;
                let body = LabelTypeBody {
                    detector: (detector > 0).then_some(detector),
                    // It is put in its place below.
                    mid: None,
                    ..before.settings
                };
                client.put_label_type(args.name.as_str(), &body).await?;
            }
            let promoted = client.promote_model(args.model, &args.name).await?;
            console.answer(&promoted, |console, promoted| {
                console.line(format_args!(
                    "new images of label type {} are pre-annotated by model {}",
                    promoted.label_type.name, promoted.model.mid
                ))
            })?;
        }
        PreannotateCommand::Off(args) => {
            let client = args.server.client()?;
            let before = client.label_type(args.name.as_str()).await?;
            let body = LabelTypeBody {
                mid: None,
                detector: None,
                ..before.settings
            };
            let view = client.put_label_type(args.name.as_str(), &body).await?;
            console.answer(&view, |console, view| {
                console.line(format_args!(
                    "new images of label type {} are labelled by hand alone",
                    view.name
                ))
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn show_all(console: &mut Console, types: &[LabelTypeView]) -> Result<(), Error> {
    if types.is_empty() {
        return console.line("no label types: `cellmill label-type set NAME` defines one");
    }
    let mut table = Table::new([
        "label type",
        "algorithm",
        "labels",
        "model",
        "trained",
        "title",
    ]);
    for it in types {
        let settings = &it.settings;
        table.row([
            it.name.clone(),
            algorithm_name(settings.algorithm),
            settings.labels.join(", "),
            settings.mid.map(|it| it.to_string()).unwrap_or_default(),
            trained(it),
            settings.title.clone(),
        ]);
    }
    console.line(table.render())
}

fn show(console: &mut Console, view: &LabelTypeView) -> Result<(), Error> {
    let settings = &view.settings;
    let mut table = Table::of_pairs();
    let mut row = |what: &str, value: String| {
        if !value.is_empty() {
            table.row([what.to_owned(), value]);
        }
    };
    row("label type", view.name.clone());
    row("title", settings.title.clone());
    row("algorithm", algorithm_name(settings.algorithm));
    row("labels", settings.labels.join(", "));
    let mid = settings.mid.map(|it| it.to_string());
    row("pre-annotated by model", mid.unwrap_or_default());
    let detector = settings.detector.map(|it| it.to_string());
    row("cells found by model", detector.unwrap_or_default());
    row("trained", trained(view));
    console.line(table.render())
}

fn trained(view: &LabelTypeView) -> String {
    let mut parts = Vec::new();
    if let Some(days) = view.settings.training_interval_days {
        parts.push(format!("every {days} days"));
    }
    if let Some(last) = &view.last_training {
        parts.push(format!(
            "last {} ({}, {} images)",
            table::moment(last.at),
            last.outcome,
            last.n_labelled
        ));
    }
    if view.train_now {
        parts.push("at the next sweep".to_owned());
    }
    parts.join(", ")
}

fn algorithm_name(number: u32) -> String {
    let name = match number {
        0 => "cells",
        1100 => "one class of many",
        1101 => "one class of two",
        1200 => "recognition",
        1300 => "segmentation",
        1310 => "semantic segmentation",
        1320 => "instance segmentation",
        1330 => "panoptic segmentation",
        1400 => "caption",
        _ => return number.to_string(),
    };
    format!("{number} {name}")
}
