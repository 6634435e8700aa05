//! The command: list, plan, send, wait, report.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cellmill_api::views::{FileKind, KeyState};
use cellmill_core::classes::ClassTable;
use cellmill_core::ids::TableName;
use cellmill_core::records::PointsState;
use clap::Parser as _;
use futures::{StreamExt as _, pin_mut};

use crate::cli::{Console, Error, Exit, ServerArgs};
use crate::client::Client;

use super::hash::fingerprint;
use super::listing::{LAYOUT, LayoutError, list};
use super::plan::{Filters, Plan, PlannedFile, plan};
use super::progress::Progress;
use super::report::{Outcome, Problem, Report, RowProblem, state_name};
use super::send::{Delivered, Delivery, Sender, patiently};
use super::wait::{Awaited, Decisions, wait_for};

const EXAMPLES: &str = "\
Examples:
  cellmill import ./lab
      img/, csv/ and classes.json of the folder
  cellmill import ./cells --folders-as-classes
      cells/train/LSIL/1.png is an image of class LSIL in the part train of a fixed split
  cellmill import ./cats --folders-as-classes --classes cat=401,dog=402 --label-type pets
      cats/cat/1.jpg is an image of class 401";

/// Send a folder of photographs and doctors' points, or of class folders, to a server
///
/// The folder holds img/<batch>/<case>/Images/<image>, csv/<batch>/<date>/<case>/<image without extension>.csv
/// and, if wanted, classes.json, which is stored first as a class table. With --folders-as-classes it holds
/// <class>/<image> or {train,val,test}/<class>/<image>. Only what the server does not have is sent, so an import
/// that was broken off is simply repeated.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// The folder
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// The folders are classes: each image is labelled as a whole with the class that its folder is named after
    #[arg(long, conflicts_with = "no_wait")]
    pub(super) folders_as_classes: bool,
    /// Class ids of folders, which count before those of the class tables and of the folder's classes.json
    #[arg(
        long,
        value_name = "NAME=ID",
        value_delimiter = ',',
        requires = "folders_as_classes"
    )]
    pub(super) classes: Vec<String>,
    /// The same as a file, in the form of classes.json
    #[arg(
        long,
        value_name = "FILE",
        requires = "folders_as_classes",
        conflicts_with = "classes"
    )]
    pub(super) class_table: Option<PathBuf>,
    /// The label type of the images, by which new ones are pre-annotated; of class folders: made if it is not there
    /// [default there: the batch]
    #[arg(long, value_name = "NAME")]
    pub(super) label_type: Option<TableName>,
    /// Uploads at a time, parts of large files among them
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) parallel: u16,
    /// Say what would be sent and what would be refused, and send nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Only this batch (may be repeated); of class folders: the batch that they become [default: the folder's name]
    #[arg(long, value_name = "BATCH")]
    pub(super) batch: Vec<String>,
    /// Only this case (may be repeated); of class folders: the case that they become [default: the part, or `all`]
    #[arg(long, value_name = "CASE")]
    pub(super) case: Vec<String>,
    /// Name of the class table that is stored [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    pub(super) classes_name: Option<String>,
    /// Do not wait until the server has looked at every file
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting when nothing has moved for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    stall: u64,
}

/// Imports a folder.
pub async fn run(args: &ImportArgs, console: &mut Console) -> Result<Exit, Error> {
    if args.folders_as_classes {
        return super::folder_command::run(args, console).await;
    }
    let report = import(args, console).await?;
    console.answer(&report, |console, report| report.show(console))?;
    Ok(report.exit())
}

/// Imports a folder of the documented layout whole, for other commands.
pub(crate) async fn folder(dir: &Path, url: &str, console: &mut Console) -> Result<Report, Error> {
    let dir = dir.as_os_str().to_owned();
    let words = ["import".into(), dir, "--url".into(), url.into()];
    let args = Line::try_parse_from(words).map_err(|error| Error::usage(error.to_string()))?;
    import(&args.import, console).await
}

/// The command line of an import alone.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    import: ImportArgs,
}

/// Sends what is wanted and says what became of it.
async fn import(args: &ImportArgs, console: &mut Console) -> Result<Report, Error> {
    let begun = Instant::now();
    let client = args.server.client()?;
    let (listing, classes) = look_at(args)?;
    let filters = Filters {
        batches: args.batch.clone(),
        cases: args.case.clone(),
    };
    let mut plan = plan(&listing, &filters);
    if let Some(label_type) = &args.label_type {
        let images = plan
            .files
            .iter_mut()
            .filter(|it| it.kind == FileKind::Image);
        images.for_each(|it| it.label_type = Some(label_type.to_string()));
    }
    let mut report = report_of(&plan, client.url());
    if args.dry_run {
        dry_run(&client, &plan, &mut report, console).await?;
        report.classes = classes.map(|it| it.name);
    } else {
        client.health().await?;
        if let Some(table) = classes {
            patiently(|| client.put_classes(&table)).await?;
            report.classes = Some(table.name);
        }
        let awaited = send(args, &client, &plan, &mut report, console).await?;
        if !args.no_wait {
            wait(args, &client, awaited, &mut report, console).await?;
        }
    }
    report.elapsed_ms = begun.elapsed().as_millis() as u64;
    report
        .problems
        .sort_by(|a, b| (a.outcome, &a.file).cmp(&(b.outcome, &b.file)));
    Ok(report)
}

/// Lists a folder of the documented layout.
pub(crate) fn listed(dir: &Path) -> Result<super::Listing, Error> {
    list(dir).map_err(|error| match error {
        LayoutError::Unreadable { path, source } => Error::file("read", path)(source),
        error => Error::Usage {
            what: error.to_string(),
            hint: Some(LAYOUT.to_owned()),
        },
    })
}

fn look_at(args: &ImportArgs) -> Result<(super::Listing, Option<ClassTable>), Error> {
    let listing = listed(&args.dir)?;
    let classes = match &listing.classes {
        Some(path) => Some(class_table(path, &args.dir, args.classes_name.as_deref())?),
        None => None,
    };
    Ok((listing, classes))
}

/// Reads `classes.json`. It is called as wished, else as it calls itself, else as the folder.
fn class_table(path: &Path, folder: &Path, wished: Option<&str>) -> Result<ClassTable, Error> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let real = folder.canonicalize().map_err(Error::file("read", folder))?;
    let folder_name = real.file_name().unwrap_or_default().to_string_lossy();
    let name = wished.unwrap_or(&folder_name);
    let mut table = ClassTable::parse(name, &bytes).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        source: error.into(),
    })?;
    if let Some(wished) = wished {
        wished.clone_into(&mut table.name);
    }
    TableName::parse(&table.name).map_err(|error| Error::Usage {
        what: error.to_string(),
        hint: Some("name the class table with --classes-name".to_owned()),
    })?;
    Ok(table)
}

pub(super) fn report_of(plan: &Plan, url: &str) -> Report {
    let count = |kind| plan.files.iter().filter(|it| it.kind == kind).count() as u64;
    Report {
        url: url.to_owned(),
        n_images: count(FileKind::Image),
        n_points: count(FileKind::Points),
        n_ignored: plan.n_ignored,
        problems: plan.set_aside.clone(),
        ..Report::default()
    }
}

/// Compares with what the server knows, where one answers; without one, everything would be sent.
pub(super) async fn dry_run(
    client: &Client,
    plan: &Plan,
    report: &mut Report,
    console: &Console,
) -> Result<(), Error> {
    report.dry_run = true;
    let known = if client.health().await.is_ok() {
        known_bytes(client, plan).await?
    } else {
        console.note("no server answers: what it has already is not known");
        HashMap::new()
    };
    for file in &plan.files {
        match fingerprint(&file.path) {
            Err(error) => report.problems.push(problem(
                file,
                Outcome::Failed,
                "unreadable",
                error.to_string(),
            )),
            Ok(found) => match known.get(&file.key) {
                Some(sha256) if *sha256 == found.sha256 => {
                    report.n_stored_before += 1;
                    report.bytes_stored_before += found.bytes;
                }
                Some(_) if file.kind == FileKind::Image => report.problems.push(problem(
                    file,
                    Outcome::Conflict,
                    "conflict",
                    "other bytes lie under this key, and images never change".to_owned(),
                )),
                other => {
                    report.n_sent += 1;
                    report.bytes_sent += found.bytes;
                    report.would_send.push(file.key.clone());
                    if other.is_some() {
                        report.replaced.push(file.key.clone());
                    }
                }
            },
        }
    }
    Ok(())
}

/// The sha256 of every image and CSV that the server knows in the plan's batches, by key.
async fn known_bytes(client: &Client, plan: &Plan) -> Result<HashMap<String, String>, Error> {
    let batches: BTreeSet<&str> = plan.files.iter().map(|it| it.batch.as_str()).collect();
    let mut known = HashMap::new();
    for batch in batches {
        let filters = [("batch", batch)];
        let images = client.images(&filters).await?.into_iter();
        known.extend(images.filter_map(|it| Some((it.key.to_path(), it.sha256?))));
        let points = client.points(&filters).await?.into_iter();
        known.extend(points.map(|it| (it.key.to_path(), it.sha256)));
    }
    Ok(known)
}

/// Sends what the server wants; gives back the files that lie there now.
pub(super) async fn send(
    args: &ImportArgs,
    client: &Client,
    plan: &Plan,
    report: &mut Report,
    console: &Console,
) -> Result<Vec<Awaited>, Error> {
    let total = plan.files.iter().map(|it| it.bytes).sum();
    let progress = Progress::of_bytes(total, console.shows_progress());
    let sender = Sender::new(client.clone(), progress, usize::from(args.parallel));
    let mut awaited = Vec::with_capacity(plan.files.len());
    let delivered = sender.deliver(&plan.files);
    pin_mut!(delivered);
    while let Some(delivered) = delivered.next().await {
        awaited.extend(count(delivered?, report));
    }
    sender.progress.finish();
    Ok(awaited)
}

fn count(delivered: Delivered, report: &mut Report) -> Option<Awaited> {
    let Delivered {
        file,
        bytes,
        delivery,
    } = delivered;
    match delivery {
        Delivery::Sent { replaces, resumed } => {
            if let Some(resumed) = resumed {
                report.n_resumed += 1;
                report.n_parts_there += resumed.n_there;
                report.n_parts_resumed += resumed.n_parts;
            }
            report.n_sent += 1;
            report.bytes_sent += bytes;
            if replaces && file.kind == FileKind::Points {
                report.replaced.push(file.key.clone());
            }
        }
        Delivery::StoredBefore => {
            report.n_stored_before += 1;
            report.bytes_stored_before += bytes;
        }
        Delivery::NotTaken {
            outcome,
            code,
            reason,
        } => {
            report.problems.push(problem(&file, outcome, &code, reason));
            return None;
        }
    }
    Some(Awaited {
        key: file.key,
        kind: file.kind,
        subject: file.subject,
        batch: file.batch,
        case: file.case,
        path: file.path,
    })
}

pub(super) fn problem(file: &PlannedFile, outcome: Outcome, code: &str, reason: String) -> Problem {
    Problem {
        file: file.path.display().to_string(),
        key: Some(file.key.clone()),
        outcome,
        code: code.to_owned(),
        reason,
    }
}

pub(super) async fn wait(
    args: &ImportArgs,
    client: &Client,
    awaited: Vec<Awaited>,
    report: &mut Report,
    console: &Console,
) -> Result<(), Error> {
    let progress = Progress::of_files(awaited.len() as u64, console.shows_progress());
    let stall = Duration::from_secs(args.stall);
    let files: BTreeMap<String, Awaited> = awaited
        .iter()
        .map(|it| (it.key.clone(), it.clone()))
        .collect();
    let decisions = wait_for(client, awaited, stall, &progress).await?;
    progress.finish();
    tell_states(&files, &decisions, report);
    tell_rows(client, &files, report).await
}

/// Counts final states, and names the files that came to nothing.
fn tell_states(files: &BTreeMap<String, Awaited>, decisions: &Decisions, report: &mut Report) {
    for (key, file) in files {
        let item = decisions.final_states.get(key);
        let state = item.map_or(KeyState::Unknown, |it| it.state);
        let counts = match file.kind {
            FileKind::Image => &mut report.images,
            FileKind::Points => &mut report.points,
        };
        *counts.entry(state_name(state)).or_insert(0) += 1;
        let outcome = match state {
            KeyState::Rejected => Outcome::Rejected,
            KeyState::Conflict => Outcome::Conflict,
            KeyState::Unknown | KeyState::Expected => Outcome::Undecided,
            KeyState::Ok | KeyState::Applied | KeyState::Waiting => continue,
        };
        let code = item.and_then(|it| it.code.clone());
        let reason = item.and_then(|it| it.reason.clone());
        report.problems.push(Problem {
            file: file.path.display().to_string(),
            key: Some(key.clone()),
            outcome,
            code: code.unwrap_or_else(|| "undecided".to_owned()),
            reason: reason.unwrap_or_else(|| "the server has not decided on it yet".to_owned()),
        });
    }
}

/// Reads what became of the rows of the CSVs, case by case.
async fn tell_rows(
    client: &Client,
    files: &BTreeMap<String, Awaited>,
    report: &mut Report,
) -> Result<(), Error> {
    let points = files.values().filter(|it| it.kind == FileKind::Points);
    let groups: BTreeSet<(&str, &str)> = points
        .map(|it| (it.batch.as_str(), it.case.as_str()))
        .collect();
    for (batch, case) in groups {
        let filters = [("batch", batch), ("case", case)];
        for csv in patiently(|| client.points(&filters)).await? {
            let key = csv.key.to_path();
            if !files.contains_key(&key) {
                continue;
            }
            if csv.state == PointsState::Applied {
                report.rows_good += csv.n_good;
            }
            report.rows_rejected += csv.n_rejected;
            report
                .rows
                .extend(csv.remarks.into_iter().map(|it| RowProblem {
                    key: key.clone(),
                    line: it.line,
                    code: it.code,
                    reason: it.reason,
                }));
        }
    }
    Ok(())
}
