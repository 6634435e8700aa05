//! `case`: what concerns a patient's case as a whole.

use std::io::{IsTerminal as _, Write as _};

use cellmill_core::erase::{Case, Erasure};
use cellmill_core::ids::{BatchId, CaseId};
use cellmill_fn_janitor::erase::{EraseCase, Error as EraseError, Plan};
use cellmill_service::Settings;
use serde::Serialize;

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit};

use super::root::HomeArgs;

/// Erase a patient's case from a root folder or a bucket
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CaseCommand {
    Erase(EraseArgs),
}

/// Remove a case whole: photographs, points, labels, records, cells, masks, review copies, thumbnails
///
/// A data set that contains it can't do without: with `--with-datasets` such data sets, and the projects that stand on
/// them, go whole, but for their job records. Models that learned from them stay and are named. What is left: one
/// document that says that, when and by whom the case was erased, and an entry in the audit trail; neither has more of
/// the patient than the names of batch and case. A run that breaks off is ended by running it again.
///
/// Examples:
///   cellmill case erase 17P0603 1904165A --dry-run
///   cellmill case erase 17P0603 1904165A --with-datasets
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct EraseArgs {
    /// The batch, as in img/<batch>/<case>/
    batch: String,
    /// The case
    case: String,
    #[command(flatten)]
    home: HomeArgs,
    /// Remove the data sets that contain it, and the projects on them, as well
    #[arg(long)]
    with_datasets: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Who erases it, for the audit trail [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer<'a> {
    Plan(&'a Plan),
    Erased(&'a Erasure),
}

pub(crate) async fn run(command: CaseCommand, console: &mut Console) -> Result<Exit, Error> {
    match command {
        CaseCommand::Erase(args) => erase(&args, console).await,
    }
}

async fn erase(args: &EraseArgs, console: &mut Console) -> Result<Exit, Error> {
    let case = case_of(args)?;
    let settings = Settings::from_env().map_err(Error::inner("read the settings"))?;
    let store = args.home.open_store(&settings).await?;
    let erase = EraseCase {
        uploads: args.home.part_uploads(&settings, &store).await?,
        versions: args.home.versions(&settings).await?,
        store,
    };
    let plan = erase.plan(&case, args.with_datasets).await;
    let plan = plan.map_err(refused)?;
    if args.dry_run {
        console.answer(&Answer::Plan(&plan), |console, _| show(&plan, console))?;
        note_versions(&erase, console);
        console.note("nothing was removed; run it without --dry-run");
        return Ok(Exit::Ok);
    }
    if !args.yes {
        if !console.is_json() {
            show(&plan, console)?;
        }
        note_versions(&erase, console);
        confirm(&case, console)?;
    }
    let erased = erase.perform(&plan, &by(args)).await;
    let erased = erased.map_err(refused)?;
    console.answer(&Answer::Erased(&erased), |console, _| {
        console.line(format_args!(
            "case {case} is erased: {} objects of {}, {} photographs among them",
            erased.counts.n_objects,
            table::bytes(erased.counts.bytes),
            erased.counts.n_images
        ))
    })?;
    note_models(&erased.models, console);
    Ok(Exit::Ok)
}

fn case_of(args: &EraseArgs) -> Result<Case, Error> {
    let wrong = |error: cellmill_core::ids::IdError| Error::usage(error.to_string());
    Ok(Case {
        batch: BatchId::parse(&args.batch).map_err(wrong)?,
        case: CaseId::parse(&args.case).map_err(wrong)?,
    })
}

fn by(args: &EraseArgs) -> String {
    let user = || std::env::var("USER").ok().filter(|it| !it.is_empty());
    args.by
        .clone()
        .or_else(user)
        .unwrap_or_else(|| "local".to_owned())
}

fn refused(error: EraseError) -> Error {
    match error {
        EraseError::Refused(refusal) => Error::Usage {
            hint: Some(refusal.hint().to_owned()),
            what: refusal.to_string(),
        },
        other => Error::inner("erase the case")(other),
    }
}

fn show(plan: &Plan, console: &mut Console) -> Result<(), Error> {
    let sum = |found: &[cellmill_fn_janitor::erase::Found]| {
        let bytes = found.iter().map(|it| it.bytes).sum();
        [found.len().to_string(), table::bytes(bytes)]
    };
    let uploads: Vec<_> = plan.uploads.iter().flat_map(|(_, it)| it.clone()).collect();
    let mut table = Table::new(["WHAT", "OBJECTS", "BYTES"]);
    for (what, found) in [
        ("its own folders", &plan.own),
        ("thumbnails", &plan.cached),
        ("unfinished uploads", &uploads),
        ("data sets and projects", &plan.of_jobs),
    ] {
        let [n, bytes] = sum(found);
        table.row([what.to_owned(), n, bytes]);
    }
    console.line(format_args!("case {}", plan.case))?;
    console.line(table.render())?;
    let names = |dirs: &[cellmill_core::ids::Dir]| {
        let names: Vec<&str> = dirs.iter().map(cellmill_core::ids::Dir::as_str).collect();
        names.join(", ")
    };
    if !plan.datasets.is_empty() {
        console.line(format_args!("data sets that go: {}", names(&plan.datasets)))?;
    }
    if !plan.projects.is_empty() {
        console.line(format_args!("projects that go: {}", names(&plan.projects)))?;
    }
    note_models(&plan.models, console);
    Ok(())
}

fn note_models(models: &[String], console: &Console) {
    if !models.is_empty() {
        console.note(format_args!(
            "models that learned from it stay: {}",
            models.join(", ")
        ));
    }
}

fn note_versions(erase: &EraseCase, console: &Console) {
    if erase.versions.is_some() {
        console.note(
            "earlier versions that the bucket keeps are removed with it; backups are not reached",
        );
    }
}

/// Nobody erases a case by a slip: its name is typed once more.
fn confirm(case: &Case, console: &Console) -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage {
            what: "nobody is there to be asked".to_owned(),
            hint: Some("`--yes` erases without asking, `--dry-run` only looks".to_owned()),
        });
    }
    console.note(format_args!(
        "this can't be undone; type `{case}` to erase it:"
    ));
    // Standard error is not buffered everywhere.
    let _ = std::io::stderr().flush();
    let mut typed = String::new();
    let read = std::io::stdin().read_line(&mut typed);
    read.map_err(|error| Error::Inner {
        action: "read the answer".to_owned(),
        source: error.into(),
    })?;
    if typed.trim() == case.to_string() {
        return Ok(());
    }
    Err(Error::usage("nothing was erased: that was not its name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(batch: &str, case: &str) -> EraseArgs {
        EraseArgs {
            batch: batch.to_owned(),
            case: case.to_owned(),
            home: HomeArgs::default(),
            with_datasets: false,
            dry_run: false,
            yes: false,
            by: Some("eve".to_owned()),
        }
    }

    #[test]
    fn a_name_that_is_no_case_is_refused_before_anything_is_opened() {
        assert_eq!(case_of(&args("b", "c")).unwrap().to_string(), "b/c");
        for (batch, case) in [("img", "c"), ("b", "../c"), ("", "c")] {
            assert!(case_of(&args(batch, case)).is_err(), "{batch}/{case}");
        }
        assert_eq!(by(&args("b", "c")), "eve");
    }

    #[tokio::test]
    async fn a_case_that_is_not_there_is_named_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let mut console = Console::captured(true, Box::new(std::io::sink()));
        let home = HomeArgs {
            root: Some(folder.path().to_owned()),
            ..HomeArgs::default()
        };
        let args = EraseArgs {
            home,
            dry_run: true,
            ..args("b", "c")
        };
        let refused = erase(&args, &mut console).await.unwrap_err();
        assert!(refused.to_string().contains("nothing of case b/c"));
        assert!(refused.hint().is_some());
    }
}
