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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=1024))]
    workers: Option<u16>,
}

pub(crate) async fn run(args: UpArgs, _console: &mut Console) -> Result<Exit, Error> {
    let settings = Settings::from_env().map_err(|error| Error::Usage {
        what: cellmill_service::report(&error),
        hint: Some("`cellmill settings` lists them".to_owned()),
    })?;
    if settings.store.is_some() || settings.queue.is_some() {
        return Err(Error::Usage {
            what: "`up` keeps everything in the folder --root, it takes no `CELLMILL_STORE` or `CELLMILL_QUEUE`".to_owned(),
            hint: Some("unset them, and name the folder with --root".to_owned()),
        });
    }
    cellmill_service::init_log(&settings.log);
    let options = UpOptions {
        root: args.root,
        listen: args.listen.unwrap_or(settings.listen),
        workers: args.workers.map(usize::from),
    };
    up(options).await.map_err(Error::inner("run the server"))?;
    Ok(Exit::Ok)
}
