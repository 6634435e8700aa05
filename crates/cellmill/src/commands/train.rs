//! `train`: a classifier from the cells of a data set, or a detector from their boxes.

use cellmill_api::views::{ModelView, NewMergedClass, NewProject, ProjectView};
use cellmill_core::classes::UNKNOWN_CLASS;
use cellmill_core::ids::{Dir, TableName};
use cellmill_core::job::JobState;
use cellmill_core::keys::{JobKind, ObjectKey, ProjectFile};
use cellmill_core::messages::UnitClass;
use cellmill_core::split::SplitRule;
use cellmill_core::training::NetworkSettings;
use serde::Serialize;

use crate::cli::table::Table;
use crate::cli::{Console, Error, Exit, ServerArgs};
use crate::client::Client;

use super::class_names::ClassNames;
use super::figures::{show_classes, show_confusion, show_detected, show_figures};
use super::jobs::{self, state_of};
use super::train_detector::DetectorArgs;
use super::train_network::NetworkArgs;
use super::training_report;

/// What a class-agnostic detector calls what it finds.
const CELL: &str = "cell";

const EXAMPLES: &str = "\
Examples:
  cellmill train DkxD9Kjl
      all classes of the data set, dealt out by case, 64 pixels a side
  cellmill train DkxD9Kjl --types LSIL,HSIL,5 --time 10m
      three classes by name or id; no new epoch begins after ten minutes
  cellmill train DkxD9Kjl --merge negative=1,5,positive=2,3,6,7,8
      two classes made of several
  cellmill train DkxD9Kjl --test-cases 1811001,1811002
      these cases judge the network, and nothing is learned from them
  cellmill train DkxD9Kjl --net efficientnet_lite0 --weights efficientnet-lite0.pth
      a network that knows photographs learns on: for few cells, or finer classes
  cellmill train DkxD9Kjl --net auto --time 2h
      networks that fit into two hours are tried, and the best on the validation part is kept
  cellmill train DkxD9Kjl --shuffle-labels
      a check: with labels dealt out at random the test must be at chance
  cellmill train DkxD9Kjl --kind detect
      a detector from the boxes of the data set: then `dataset create --type 0 --mid MODEL` finds cells with it
  cellmill train DkxD9Kjl --kind detect --agnostic --weights efficientnet-lite0.pth
      one class, cell; the network knows photographs";

/// Train a classifier on the cells of a data set, or a detector on their boxes, and say how good it is
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    /// The data set's directory, such as `DkxD9Kjl`; one that is being made is waited for
    #[arg(value_name = "DATASET")]
    dataset: Dir,
    /// What it learns: the class of a cell (`classify`), or where cells are in an image, and of which class (`detect`)
    #[arg(long, value_name = "KIND", default_value = "classify", value_parser = ["classify", "detect"])]
    kind: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Classes by id or name, such as `1,LSIL` [default: all of a data set that is done]
    #[arg(
        long,
        value_name = "CLASSES",
        value_delimiter = ',',
        conflicts_with = "merge"
    )]
    types: Vec<String>,
    /// Classes made of several: `negative=1,positive=2,3,6`
    #[arg(long, value_name = "NAME=CLASSES", value_delimiter = ',')]
    merge: Vec<String>,
    /// Side of the network's input in pixels [default: 64, with weights 96]
    #[arg(long, value_name = "PIXELS")]
    resize: Option<u32>,
    /// Begin no new epoch after this time: `90`, `90s`, `10m`, `2h` [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    time: Option<u64>,
    /// Decides initial weights, split, order and augmentation: the same seed gives the same model
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    detector: DetectorArgs,
    /// How cells are dealt out: by `case`, by `image`, as the folders said (`fixed`), or as the predecessor did
    /// (`legacy`)
    #[arg(long, value_name = "RULE", default_value = "case", value_parser = ["case", "image", "fixed", "legacy"])]
    split: String,
    /// These cases judge: `<batch>/<case>`, or the case alone
    #[arg(
        long,
        value_name = "CASES",
        value_delimiter = ',',
        conflicts_with = "split"
    )]
    test_cases: Vec<String>,
    /// The label type whose model is replaced when the new one is not worse
    #[arg(long, value_name = "NAME")]
    label_type: Option<TableName>,
    /// Deal the labels out at random: a check that nothing else is learned
    #[arg(long)]
    shuffle_labels: bool,
    /// Tell where the time went, and leave `trace.json` beside the curves: `chrome://tracing` and Perfetto open it
    #[arg(long)]
    profile: bool,
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

/// Seconds of `90`, `90s`, `10m`, `2h`.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    let number: Option<u64> = number.trim().parse().ok();
    number
        .and_then(|it| it.checked_mul(factor))
        .ok_or_else(|| format!("`{text}` is no time, write it as `90s`, `10m` or `2h`"))
}

impl TrainArgs {
    fn is_detector(&self) -> bool {
        self.kind == "detect"
    }

    /// Refuses what the other kind of training knows nothing of: it would be passed over in silence.
    fn check_kind(&self) -> Result<(), Error> {
        let other = if self.is_detector() {
            let own = [
                ("--resize", self.resize.is_some()),
                ("--label-type", self.label_type.is_some()),
                ("--profile", self.profile),
            ];
            let foreign = own.into_iter().chain(self.network.of_classifiers());
            foreign.into_iter().find(|it| it.1)
        } else {
            self.detector.given().into_iter().find(|it| it.1)
        };
        match other {
            None => Ok(()),
            Some((name, _)) => Err(Error::usage(format!(
                "`{name}` has no meaning with `--kind {}`",
                self.kind
            ))),
        }
    }

    fn side(&self) -> u32 {
        self.resize.unwrap_or_else(|| self.network.default_side())
    }

    fn wish(&self, names: &ClassNames) -> Result<NewProject, Error> {
        let split = match self.split.as_str() {
            _ if !self.test_cases.is_empty() => SplitRule::Cases {
                test: self.test_cases.clone(),
            },
            "image" => SplitRule::Image,
            "fixed" => SplitRule::Fixed,
            "legacy" => SplitRule::Legacy,
            _ => SplitRule::Case,
        };
        Ok(NewProject {
            description: self.description.clone().unwrap_or_default(),
            dir: self.dir.clone(),
            dataset: Some(self.dataset.clone()),
            types: names.ids(&self.types)?,
            class: self.class.clone(),
            merge: names.merged(&self.merge)?,
            parameter_time: self.time,
            split: Some(split),
            seed: Some(self.seed),
            label_type: self.label_type.clone(),
            shuffle_labels: self.shuffle_labels,
            profile: self.profile,
            ..NewProject::of_kind(JobKind::Train)
        })
    }
}

/// What a training brought.
#[derive(Clone, Debug, Serialize)]
struct Trained {
    project: ProjectView,
    /// When it is done.
    model: Option<ModelView>,
}

pub(crate) async fn run(args: &TrainArgs, console: &mut Console) -> Result<Exit, Error> {
    args.check_kind()?;
    let client = args.server.client()?;
    let names = ClassNames::of_server(&client).await?;
    let mut wish = args.wish(&names)?;
    if args.is_detector() {
        let (mut detector, weights) = args.detector.settings(&args.network)?;
        if let Some(file) = weights {
            detector.weights = Some(client.send_weights(&file.announced, file.bytes).await?);
        }
        wish.detector = Some(Box::new(detector));
        if args.detector.agnostic && wish.merge.is_empty() {
            let classes = std::mem::take(&mut wish.types);
            wish.merge = vec![one_class(&client, &args.dataset, classes).await?];
        }
    } else {
        // Told before anything is sent: weights that do not fit.
        let mut network: NetworkSettings = args.network.settings();
        if let Some(file) = args.network.weights_file(args.side())? {
            network.weights = Some(client.send_weights(&file.announced, file.bytes).await?);
        }
        wish.network = Some(network);
        wish.parameter_resize = Some(args.side());
    }
    let made = client.create_project(&wish).await?;
    if args.no_wait {
        console.answer(&made, |console, made| {
            console.line(format_args!(
                "training {} in {}, its model will be {}",
                made.number, made.dir, made.mid
            ))?;
            console.line(format_args!(
                "follow it: cellmill jobs watch {} --kind train",
                made.dir
            ))
        })?;
        return Ok(Exit::Ok);
    }
    let dir = made.dir.as_str();
    let job = jobs::wait(&client, JobKind::Train, dir, console).await?;
    let trained = trained(&client, dir).await?;
    console.answer(&trained, show)?;
    Ok(jobs::exit_of(&job))
}

/// All these classes as one, or all that the data set has.
async fn one_class(
    client: &Client,
    dataset: &Dir,
    classes: Vec<u32>,
) -> Result<NewMergedClass, Error> {
    let of = if classes.is_empty() {
        let counts = client.dataset(dataset.as_str()).await?.statistics;
        let types = counts.and_then(|it| it.types).unwrap_or_default();
        types.iter().map(|it| it.celltype).collect()
    } else {
        classes
    };
    Ok(NewMergedClass {
        name: CELL.to_owned(),
        class: Some(UNKNOWN_CLASS),
        of,
    })
}

async fn trained(client: &Client, dir: &str) -> Result<Trained, Error> {
    let project = client.project(dir).await?;
    let model = match project.job.state {
        JobState::Done => Some(client.model(project.mid).await?),
        _ => None,
    };
    Ok(Trained { project, model })
}

fn show(console: &mut Console, trained: &Trained) -> Result<(), Error> {
    let Trained { project, model } = trained;
    let dir = &project.dir;
    let mut table = Table::of_pairs();
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("training", format!("{} in {dir}", project.number));
    row("state", state_of(console, &project.job));
    if let Some(error) = &project.job.error {
        row("error", error.clone());
    }
    row("data set", project.dataset.to_string());
    let Some(model) = model else {
        row("log", format!("cellmill jobs log {dir} --kind train"));
        return console.line(table.render());
    };
    for (what, value) in super::models::facts(model) {
        row(what, value);
    }
    console.line(table.render())?;
    show_measured(console, model)?;
    if let Some(detector) = &model.detector {
        show_detected(console, model, detector)?;
    }
    training_report::show(console, project.job.report.as_ref())?;
    let mut paths = Table::new(["to look at", ""]);
    let mut path = |path: String, what: &str| paths.row([path, what.to_owned()]);
    let at = |file| ObjectKey::Project(dir.clone(), file).to_path();
    if model.detector.is_some() {
        path(
            at(ProjectFile::Curves),
            "loss and average precision by epoch",
        );
        path(
            at(ProjectFile::Detections),
            "what was found in the images that judge it",
        );
        path(at(ProjectFile::Split), "every image with its part");
    } else {
        path(at(ProjectFile::Curves), "loss and accuracy by epoch");
        path(at(ProjectFile::Confusion), "truth and prediction");
        path(
            at(ProjectFile::Split),
            "every cell with its part and what was predicted",
        );
    }
    path(format!("{}.json", model.file), "the model's card");
    if project.parameters["profile"] == true {
        path(at(ProjectFile::Trace), "what single steps took");
    }
    console.line("")?;
    console.line(paths.render())?;
    if model.detector.is_some() {
        return console.line(format_args!(
            "\nnext: cellmill dataset create --batch BATCH --type 0 --mid {}",
            model.mid
        ));
    }
    console.line(format_args!(
        "\nnext: cellmill predict {} --model {}",
        project.dataset, model.mid
    ))
}

/// The figures of a model's card, as far as it has some.
pub(super) fn show_measured(console: &mut Console, model: &ModelView) -> Result<(), Error> {
    let parts = [
        ("test", &model.test),
        ("validation", &model.validation),
        ("baseline", &model.baseline),
    ];
    let columns: Vec<_> = parts
        .iter()
        .filter_map(|(name, it)| Some((*name, it.as_ref()?)))
        .collect();
    if columns.is_empty() {
        return Ok(());
    }
    console.line("")?;
    show_figures(console, &columns)?;
    let names: Vec<String> = model
        .classes
        .iter()
        .map(|it| format!("{} {}", it.id, it.name))
        .collect();
    let Some(judged) = model.test.as_ref().or(model.validation.as_ref()) else {
        return Ok(());
    };
    show_classes(console, &names, judged)?;
    show_confusion(console, &names, &judged.confusion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_seconds("90"), Ok(90));
        assert_eq!(parse_seconds("90s"), Ok(90));
        assert_eq!(parse_seconds("10m"), Ok(600));
        assert_eq!(parse_seconds("2h"), Ok(7200));
        for bad in ["", "m", "10 minutes", "-1", "99999999999999999999h"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
