//! `settings`: the variables of the environment that the program reads.

use std::collections::BTreeMap;

use cellmill_service::settings::env::VARIABLES;
use serde::Serialize;

use crate::cli::table::Table;
use crate::cli::{Console, Error, Exit};

/// List the environment variables that `up` reads
#[derive(Clone, Debug, clap::Args)]
pub struct SettingsArgs {
    /// As a Markdown table, as it stands in the README
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Serialize)]
struct Shown {
    default: &'static str,
    form: &'static str,
    doc: &'static str,
}

pub(crate) fn run(args: &SettingsArgs, console: &mut Console) -> Result<Exit, Error> {
    if args.markdown {
        console.text(&cellmill_service::settings::table())?;
        return Ok(Exit::Ok);
    }
    let variables = VARIABLES.iter().map(|it| {
        let shown = Shown {
            default: it.default,
            form: it.form,
            doc: it.doc,
        };
        (it.name, shown)
    });
    let variables: BTreeMap<&str, Shown> = variables.collect();
    console.answer(&variables, |console, _| {
        let mut table = Table::new(["variable", "default", "what it does", "form"]);
        for it in VARIABLES {
            table.row([it.name, it.default, it.doc, it.form].map(str::to_owned));
        }
        console.line(table.render())
    })?;
    Ok(Exit::Ok)
}
