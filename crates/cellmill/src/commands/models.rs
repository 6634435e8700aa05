//! `models`: the registry of models.

use std::path::PathBuf;

use cellmill_api::views::{ModelView, NewModel};
use cellmill_core::ids::{TableName, sha256_hex};
use cellmill_core::model::{ModelClass, ModelInput, ModelState};
use cellmill_nets::{Classifier, Device, ModelSpec};

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, ServerArgs, Tone};

use super::class_names::ClassNames;
use super::figures::{share, show_detected};
use super::train::show_measured;

/// Look at models, bring one from elsewhere, choose one for a label type
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ModelsCommand {
    /// List models
    Ls(LsArgs),
    /// Show one model: where it comes from, how good it is
    Show(ShowArgs),
    Import(ImportArgs),
    Promote(PromoteArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// Its number
    #[arg(value_name = "MODEL")]
    model: u64,
    #[command(flatten)]
    server: ServerArgs,
}

const IMPORT_EXAMPLES: &str = "\
Example:
  cellmill models import 100.safetensors --classes 5=NILM,2=LSIL,3=HSIL
      the classes in the order of the network's outputs";

/// Bring a model file from elsewhere, such as another installation
///
/// The file is checked here first: it must be a network that this program knows.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// A safetensors file that a training wrote
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
    /// ID=NAME of each class in the order of the network's outputs; an id or a name alone is looked up
    #[arg(long, value_name = "ID=NAME", value_delimiter = ',', required = true)]
    classes: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
}

const PROMOTE_EXAMPLES: &str = "\
Example:
  cellmill models promote 104 --for smears
      new images of the label type `smears` are pre-annotated by model 104 from now on";

/// Let a label type use a model; promoting the one before undoes it
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = PROMOTE_EXAMPLES)]
pub struct PromoteArgs {
    /// Its number
    #[arg(value_name = "MODEL")]
    model: u64,
    /// The label type
    #[arg(long = "for", value_name = "TYPE")]
    label_type: TableName,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(command: ModelsCommand, console: &mut Console) -> Result<Exit, Error> {
    match command {
        ModelsCommand::Ls(args) => ls(&args, console).await,
        ModelsCommand::Show(args) => {
            let model = args.server.client()?.model(args.model).await?;
            console.answer(&model, show)?;
            Ok(Exit::Ok)
        }
        ModelsCommand::Import(args) => import(&args, console).await,
        ModelsCommand::Promote(args) => promote(&args, console).await,
    }
}

async fn ls(args: &LsArgs, console: &mut Console) -> Result<Exit, Error> {
    let models = args.server.client()?.models().await?;
    console.answer(&models, |console, models| {
        if models.is_empty() {
            return console.line("no models: `cellmill train DATASET` makes one");
        }
        let mut table = Table::new([
            "model",
            "kind",
            "state",
            "classes",
            "balanced accuracy",
            "macro-F1",
            "AP50",
            "for",
        ]);
        for model in models {
            let figures = model.test.as_ref().or(model.validation.as_ref());
            let figure = |it: Option<f64>| it.map(share).unwrap_or_default();
            let detector = model.detector.as_ref();
            let detected = detector.and_then(|it| it.test.as_ref().or(it.validation.as_ref()));
            table.row([
                model.mid.to_string(),
                model.kind.as_str().to_owned(),
                state_of(console, model.state),
                class_names(model),
                figure(figures.map(|it| it.balanced_accuracy)),
                figure(figures.map(|it| it.macro_f1)),
                figure(detected.map(|it| it.ap50)),
                model.description.clone(),
            ]);
        }
        console.line(table.render())
    })?;
    Ok(Exit::Ok)
}

fn class_names(model: &ModelView) -> String {
    let names: Vec<&str> = model.classes.iter().map(|it| it.name.as_str()).collect();
    match names.len() {
        0..=5 => names.join(", "),
        n => format!("{}, ... ({n})", names[..4].join(", ")),
    }
}

fn state_of(console: &Console, state: ModelState) -> String {
    match state {
        ModelState::Uploading => console.paint(Tone::Busy, "uploading"),
        ModelState::Ready => console.paint(Tone::Good, "ready"),
        ModelState::Proposed => console.paint(Tone::Plain, "proposed"),
        ModelState::Adopted => console.paint(Tone::Good, "adopted"),
    }
}

fn show(console: &mut Console, model: &ModelView) -> Result<(), Error> {
    let mut table = Table::of_pairs();
    let mut row = |what: &str, value: String| {
        if !value.is_empty() {
            table.row([what.to_owned(), value]);
        }
    };
    row("for", model.description.clone());
    row("state", state_of(console, model.state));
    for (what, value) in facts(model) {
        row(what, value);
    }
    if let Some(decided) = &model.decided {
        let at = table::moment(decided.at);
        row("decided", format!("{} ({}, {at})", decided.why, decided.by));
    }
    if let Some(it) = &model.calibration {
        row(
            "calibration",
            format!(
                "temperature {:.2}, expected error {} before and {} after",
                it.temperature,
                share(it.error_before),
                share(it.error_after)
            ),
        );
    }
    row("file", model.file.clone());
    row("bytes", model.bytes.to_string());
    row("sha256", model.sha256.clone());
    console.line(table.render())?;
    show_measured(console, model)?;
    match &model.detector {
        Some(detector) => show_detected(console, model, detector),
        None => Ok(()),
    }
}

/// What a model is and where it comes from, as names and values.
pub(super) fn facts(model: &ModelView) -> Vec<(&'static str, String)> {
    let side = model.input.side;
    let colours = if model.input.gray { "grey" } else { "colour" };
    let seen = match &model.detector {
        Some(it) => format!("sees {} pixels for one, {colours}", it.zoom),
        None => format!("{side} x {side} pixels, {colours}"),
    };
    let mut facts = vec![(
        "model",
        format!(
            "{}: {}, {} {}, {seen}",
            model.mid,
            model.kind.as_str(),
            model.family,
            model.scale
        ),
    )];
    let classes = model
        .classes
        .iter()
        .map(|it| format!("{} {}", it.id, it.name));
    facts.push(("classes", classes.collect::<Vec<_>>().join(", ")));
    let Some(it) = &model.training else {
        facts.push(("from", "elsewhere".to_owned()));
        return facts;
    };
    facts.push((
        "cells",
        format!(
            "{} train, {} validation, {} test, dealt out by {}",
            it.n_train, it.n_validation, it.n_test, it.split_unit
        ),
    ));
    if let Some(it) = &it.weights {
        let began_with = format!("{} values of {} ({})", it.n_values, it.file, it.source);
        facts.push(("began with", began_with));
    }
    let early = it.ended_early.as_ref();
    let early = early.map(|why| format!(", ended early: {why}"));
    facts.push((
        "epochs",
        format!(
            "{}, the best was {}{}",
            it.epochs_run,
            it.best_epoch,
            early.unwrap_or_default()
        ),
    ));
    facts.push((
        "seed",
        format!(
            "{} ({}, {}, {} threads)",
            it.seed, it.device, it.instruction_set, it.threads
        ),
    ));
    for merged in &it.merge {
        let of: Vec<String> = merged.of.iter().map(ToString::to_string).collect();
        facts.push(("merged", format!("{} = {}", merged.name, of.join(", "))));
    }
    facts.extend(it.notes.iter().map(|note| ("note", note.clone())));
    facts
}

async fn import(args: &ImportArgs, console: &mut Console) -> Result<Exit, Error> {
    let client = args.server.client()?;
    let bytes = std::fs::read(&args.file).map_err(Error::file("read", &args.file))?;
    let spec = checked(args, &bytes)?;
    let names = ClassNames::of_server(&client).await?;
    let classes = classes_of(&args.classes, &names)?;
    let n_outputs = spec.architecture.n_classes;
    if classes.len() != n_outputs {
        return Err(Error::Usage {
            what: format!(
                "the network has {n_outputs} outputs, --classes names {}",
                classes.len()
            ),
            hint: Some("name one class an output, in their order".to_owned()),
        });
    }
    let announced = client
        .create_model(&new_model(args, &bytes, &spec, classes))
        .await?;
    let model = client.send_model_file(announced.mid, bytes).await?;
    console.answer(&model, |console, model| {
        show(console, model)?;
        console.line(format_args!(
            "\nnext: cellmill eval {} --dataset DATASET",
            model.mid
        ))
    })?;
    Ok(Exit::Ok)
}

/// Is this a network that can be run?
fn checked(args: &ImportArgs, bytes: &[u8]) -> Result<ModelSpec, Error> {
    let device = Device::Cpu.open().map_err(Error::inner("open the CPU"))?;
    let model = Classifier::from_bytes(bytes, &device).map_err(|error| Error::Malformed {
        path: args.file.clone(),
        source: error.into(),
    })?;
    Ok(model.spec().clone())
}

fn new_model(
    args: &ImportArgs,
    bytes: &[u8],
    spec: &ModelSpec,
    classes: Vec<ModelClass>,
) -> NewModel {
    let architecture = &spec.architecture;
    NewModel {
        description: args.description.clone(),
        bytes: bytes.len() as u64,
        sha256: sha256_hex(bytes),
        family: name_of(&architecture.family),
        scale: name_of(&architecture.scale),
        features: architecture.features as u32,
        classes,
        input: ModelInput {
            side: architecture.side as u32,
            gray: spec.gray,
            mean: spec.normalisation.mean,
            std: spec.normalisation.deviation,
        },
        unit_class: None,
    }
}

/// The name under which a choice stands in files.
fn name_of(choice: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(choice).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// `5=NILM`, or an id or a name that a class table knows.
fn classes_of(texts: &[String], names: &ClassNames) -> Result<Vec<ModelClass>, Error> {
    let class = |text: &String| {
        let Some((id, name)) = text.split_once('=') else {
            let id = names.ids(std::slice::from_ref(text))?[0];
            let name = names.name(id);
            return Ok(ModelClass { id, name });
        };
        let id = id.trim().parse().map_err(|_| Error::Usage {
            what: format!("`{text}` is not of the form ID=NAME"),
            hint: Some("write it as `5=NILM`".to_owned()),
        })?;
        let name = name.trim().to_owned();
        Ok(ModelClass { id, name })
    };
    texts.iter().map(class).collect()
}

async fn promote(args: &PromoteArgs, console: &mut Console) -> Result<Exit, Error> {
    let client = args.server.client()?;
    let promoted = client.promote_model(args.model, &args.label_type).await?;
    console.answer(&promoted, |console, promoted| {
        let name = &promoted.label_type.name;
        let mid = promoted.model.mid;
        match promoted.replaced {
            Some(before) => {
                console.line(format_args!(
                    "label type {name} uses model {mid} now, before it was {before}"
                ))?;
                console.line(format_args!(
                    "undo: cellmill models promote {before} --for {name}"
                ))
            }
            None => console.line(format_args!("label type {name} uses model {mid} now")),
        }
    })?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_a_file_are_named_or_looked_up() {
        let names = ClassNames::default();
        let texts = ["301=RBC", "5", "asc-us"].map(str::to_owned);
        let classes = classes_of(&texts, &names).unwrap();
        let shown: Vec<(u32, &str)> = classes.iter().map(|it| (it.id, it.name.as_str())).collect();
        assert_eq!(shown, [(301, "RBC"), (5, "NILM"), (7, "ASCUS")]);
        assert!(classes_of(&["x=RBC".to_owned()], &names).is_err());
    }
}
