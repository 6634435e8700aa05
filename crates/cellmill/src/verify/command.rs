//! The command: walk the root, show what was found.

use std::path::PathBuf;

use crate::cli::table::Table;
use crate::cli::{Console, Error, Exit, Tone};
use crate::commands::root;

use super::finding::Weight;
use super::walk::{Verified, verify};

/// Check that every document of a root folder parses and that everything it names exists
///
/// Nothing is changed. Ends with 1 when there are problems; notes are things that are left over or not done yet.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// The root folder
    #[arg(long, value_name = "DIR", default_value = "./cellmill-data")]
    root: PathBuf,
}

/// Findings that a person is shown.
const SHOWN: usize = 100;

pub async fn run(args: &VerifyArgs, console: &mut Console) -> Result<Exit, Error> {
    let store = root::open(&args.root).await?;
    let verified = verify(&store)
        .await
        .map_err(Error::inner("list the root folder"))?;
    console.answer(&verified, show)?;
    Ok(if verified.problems == 0 {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

fn show(console: &mut Console, verified: &Verified) -> Result<(), Error> {
    if !verified.findings.is_empty() {
        let mut table = Table::new(["", "object", "rule", "found"]);
        for finding in verified.findings.iter().take(SHOWN) {
            let weight = match finding.weight {
                Weight::Problem => console.paint(Tone::Bad, "problem"),
                Weight::Note => console.paint(Tone::Busy, "note"),
            };
            table.row([
                weight,
                finding.key.clone(),
                finding.rule.to_owned(),
                finding.detail.clone(),
            ]);
        }
        console.line(table.render())?;
        if verified.findings.len() > SHOWN {
            let more = verified.findings.len() - SHOWN;
            console.line(format_args!(" … and {more} more, all of them with --json"))?;
        }
        console.line("")?;
    }
    console.line(format_args!(
        "{} objects, {} problems, {} notes",
        verified.objects, verified.problems, verified.notes
    ))
}
