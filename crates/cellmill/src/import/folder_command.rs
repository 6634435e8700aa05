//! The command for class folders: list, name the classes, send, wait, label, report.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use cellmill_api::views::LabelTypeBody;
use cellmill_core::classes::ClassTable;
use cellmill_core::ids::{BatchId, TableName};
use cellmill_core::label::LabelType;
use futures::{StreamExt as _, pin_mut};

use crate::cli::{Console, Error, Exit};
use crate::client::Client;
use crate::commands::class_names::ClassNames;
use crate::commands::label_types;

use super::class_folders::{ClassPlan, LAYOUT, Target, fitting_batch, list, plan};
use super::class_ids::{ClassIds, Sources, read_table, table_beside, wished_table};
use super::class_labels::label_all;
use super::command::{ImportArgs, dry_run, report_of, send, wait};
use super::folder_report::{FolderReport, rows};
use super::listing::LayoutError;
use super::progress::Progress;
use super::report::{Outcome, Problem, Report};
use super::send::patiently;

/// Imports class folders.
pub(super) async fn run(args: &ImportArgs, console: &mut Console) -> Result<Exit, Error> {
    let begun = Instant::now();
    let client = args.server.client()?;
    let target = target_of(args)?;
    let listed = list(&args.dir).map_err(|error| match error {
        LayoutError::Unreadable { path, source } => Error::file("read", path)(source),
        error => usage(error.to_string()),
    })?;
    let plan = plan(&listed.listing, &target);
    if plan.images.is_empty() {
        return Err(usage(format!(
            "`{}` holds no class folders with images",
            args.dir.display()
        )));
    }
    let is_reachable = client.health().await;
    let sources = Sources {
        wished: match &args.class_table {
            Some(path) => Some(read_table(path)?),
            None => wished_table(&args.classes)?,
        },
        known: match (&is_reachable, args.dry_run) {
            (Err(_), true) => ClassNames::default(),
            _ => ClassNames::of_server(&client).await?,
        },
        beside: table_beside(&args.dir),
    };
    let folders: BTreeSet<&str> = plan.images.values().map(|it| it.class.as_str()).collect();
    let ids = sources.resolve(folders)?;

    let mut report = report_of(&plan.plan, client.url());
    let (label_type_is_new, labelled);
    if args.dry_run {
        dry_run(&client, &plan.plan, &mut report, console).await?;
        label_type_is_new =
            is_reachable.is_err() || existing_type(&client, &target).await?.is_none();
        labelled = HashSet::new();
    } else {
        report.classes = store_classes(args, &client, &sources.known, &ids, &target).await?;
        label_type_is_new = ensure_label_type(&client, &target, &ids).await?;
        let awaited = send(args, &client, &plan.plan, &mut report, console).await?;
        let sent: Vec<String> = awaited.iter().map(|it| it.key.clone()).collect();
        wait(args, &client, awaited, &mut report, console).await?;
        labelled = label(args, &client, &plan, &ids, sent, &mut report, console).await?;
    }
    report.elapsed_ms = begun.elapsed().as_millis() as u64;
    report
        .problems
        .sort_by(|a, b| (a.outcome, &a.file).cmp(&(b.outcome, &b.file)));
    let exit = report.exit();
    let is_dry = args.dry_run;
    let folders = rows(&plan, &ids, |key| (!is_dry).then(|| labelled.contains(key)));
    let report = FolderReport {
        report,
        batch: target.batch.to_string(),
        label_type: target.label_type,
        label_type_is_new,
        passed_over: listed.passed_over,
        notes: ids.notes,
        folders,
    };
    console.answer(&report, |console, report| report.show(console))?;
    Ok(exit)
}

fn usage(what: String) -> Error {
    Error::Usage {
        what,
        hint: Some(LAYOUT.to_owned()),
    }
}

/// Where the images go, by the command line or by the folder's name.
fn target_of(args: &ImportArgs) -> Result<Target, Error> {
    let one = |what: &str, given: &[String]| match given {
        [] => Ok(None),
        [it] => Ok(Some(it.clone())),
        _ => Err(usage(format!("class folders become one {what}: give one"))),
    };
    let batch = if let Some(name) = one("batch", &args.batch)? {
        BatchId::parse(&name).map_err(|it| usage(it.to_string()))?
    } else {
        let dir = &args.dir;
        let real = dir.canonicalize().map_err(Error::file("read", dir))?;
        fitting_batch(&real.file_name().unwrap_or_default().to_string_lossy())
    };
    let label_type = match &args.label_type {
        Some(name) => name.to_string(),
        None => batch.to_string(),
    };
    TableName::parse(&label_type).map_err(|error| Error::Usage {
        what: error.to_string(),
        hint: Some("name the label type with --label-type".to_owned()),
    })?;
    Ok(Target {
        case: one("case", &args.case)?,
        batch,
        label_type,
    })
}

/// Stores the classes that the server has no name for. Gives the name of their table.
async fn store_classes(
    args: &ImportArgs,
    client: &Client,
    known: &ClassNames,
    ids: &ClassIds,
    target: &Target,
) -> Result<Option<String>, Error> {
    if ids.fresh.is_empty() {
        return Ok(None);
    }
    let wished = args.classes_name.clone();
    let name = wished.unwrap_or_else(|| target.batch.to_string());
    TableName::parse(&name).map_err(|error| Error::Usage {
        what: error.to_string(),
        hint: Some("name the class table with --classes-name".to_owned()),
    })?;
    let before = known.table(&name).map(|it| it.classes.clone());
    let mut classes = before.unwrap_or_default();
    classes.extend(ids.fresh.iter().cloned());
    classes.sort_by_key(|it| it.id);
    let table = ClassTable {
        v: 1,
        name: name.clone(),
        classes,
    };
    patiently(|| client.put_classes(&table)).await?;
    Ok(Some(name))
}

async fn existing_type(client: &Client, target: &Target) -> Result<Option<LabelTypeBody>, Error> {
    let name = TableName::parse(&target.label_type).map_err(|it| usage(it.to_string()))?;
    let view = label_types::existing(client, &name).await?;
    Ok(view.map(|it| it.settings))
}

/// Makes the label type of the images if it is not there; says whether it did.
async fn ensure_label_type(
    client: &Client,
    target: &Target,
    ids: &ClassIds,
) -> Result<bool, Error> {
    let name = &target.label_type;
    if let Some(settings) = existing_type(client, target).await? {
        let is_of_images = matches!(
            LabelType::from_code(settings.algorithm),
            Some(LabelType::Classification | LabelType::TwoClass)
        );
        if is_of_images {
            return Ok(false);
        }
        return Err(Error::Usage {
            what: format!(
                "label type `{name}` has the algorithm {}, classes of whole images need 1100 or 1101",
                settings.algorithm
            ),
            hint: Some("name another one with --label-type".to_owned()),
        });
    }
    let labels = labels_of(ids);
    let algorithm = match labels.len() {
        2 => LabelType::TwoClass,
        _ => LabelType::Classification,
    };
    let body = LabelTypeBody {
        title: String::new(),
        algorithm: algorithm.code(),
        labels,
        mid: None,
        detector: None,
        training_interval_days: None,
    };
    client.put_label_type(name, &body).await?;
    Ok(true)
}

/// The names of the classes, ascending by id; of folders of one class the first.
fn labels_of(ids: &ClassIds) -> Vec<String> {
    let mut by_id = BTreeMap::new();
    for (name, id) in &ids.ids {
        by_id.entry(*id).or_insert_with(|| name.clone());
    }
    by_id.into_values().collect()
}

/// Labels the images that are good; gives the keys of those that have their class now.
async fn label(
    args: &ImportArgs,
    client: &Client,
    plan: &ClassPlan,
    ids: &ClassIds,
    sent: Vec<String>,
    report: &mut Report,
    console: &Console,
) -> Result<HashSet<String>, Error> {
    let bad: HashSet<&String> = report
        .problems
        .iter()
        .filter_map(|it| it.key.as_ref())
        .collect();
    let wanted: Vec<(String, u32)> = sent
        .into_iter()
        .filter(|key| !bad.contains(key))
        .filter_map(|key| {
            let id = *ids.ids.get(&plan.images.get(&key)?.class)?;
            Some((key, id))
        })
        .collect();
    let progress = Progress::of_labels(wanted.len() as u64, console.shows_progress());
    let mut labelled = HashSet::with_capacity(wanted.len());
    let answers = label_all(client, wanted, usize::from(args.parallel));
    pin_mut!(answers);
    while let Some((key, answer)) = answers.next().await {
        progress.add(1);
        match answer {
            Ok(()) => {
                labelled.insert(key);
            }
            Err(error @ crate::client::Error::NotReachable { .. }) => return Err(error.into()),
            Err(error) => report.problems.push(not_labelled(plan, key, &error)),
        }
    }
    progress.finish();
    Ok(labelled)
}

fn not_labelled(plan: &ClassPlan, key: String, error: &crate::client::Error) -> Problem {
    let file = plan.plan.files.iter().find(|it| it.key == key);
    Problem {
        file: file.map_or_else(|| key.clone(), |it| it.path.display().to_string()),
        key: Some(key),
        outcome: Outcome::Failed,
        code: "not_labelled".to_owned(),
        reason: format!("it is stored, but not labelled: {error}"),
    }
}
