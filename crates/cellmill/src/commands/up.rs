//! `up`: everything in one process over a folder.

use std::net::SocketAddr;
use std::path::PathBuf;

use cellmill_service::Settings;

use crate::cli::{Console, Error, Exit};
use crate::standalone::{UpOptions, up};

/// Run everything in this process over a folder: server, functions and workers
///
/// Ends on Ctrl-C; what was being worked on goes on at the next start. Further settings are environment
/// variables: see `cellmill settings`.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    /// The folder that everything is kept in, on a local disk; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "./cellmill-data")]
    root: PathBuf,
    /// Where to answer [default: the setting `CELLMILL_LISTEN`, this machine only]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Workers in this process [default: the setting `CELLMILL_WORKERS`]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

pub(crate) async fn run(args: UpArgs, _console: &mut Console) -> Result<Exit, Error> {
    let settings = Settings::from_env().map_err(|error| Error::Usage {
        what: cellmill_service::report(&error),
        hint: Some("`cellmill settings` lists them".to_owned()),
    })?;
    cellmill_service::init_log(&settings.log);
    let options = UpOptions {
        root: args.root,
        listen: args.listen.unwrap_or(settings.listen),
        workers: args.workers,
    };
    up(options).await.map_err(Error::inner("run the server"))?;
    Ok(Exit::Ok)
}
