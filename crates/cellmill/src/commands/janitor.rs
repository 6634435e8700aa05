//! `janitor`: what the housekeeping would do to a root folder, or one round of it.

use std::path::PathBuf;

use crate::cli::{Console, Error, Exit};

/// Do one round of housekeeping over a root folder, or say what it would do
#[derive(Clone, Debug, clap::Args)]
pub struct JanitorArgs {
    /// The root folder
    #[arg(long, value_name = "DIR", default_value = "./cellmill-data")]
    pub(crate) root: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(args: &JanitorArgs, console: &mut Console) -> Result<Exit, Error> {
    crate::standalone::janitor(args, console).await
}
