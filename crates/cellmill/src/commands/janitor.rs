//! `janitor`: what the housekeeping would do to a root folder or a bucket, or one round of it.

use crate::cli::{Console, Error, Exit};

use super::root::HomeArgs;

/// Do one round of housekeeping over a root folder or a bucket, or say what it would do
#[derive(Clone, Debug, clap::Args)]
pub struct JanitorArgs {
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(args: &JanitorArgs, console: &mut Console) -> Result<Exit, Error> {
    crate::standalone::janitor(args, console).await
}
