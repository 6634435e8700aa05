//! The command.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cellmill_core::ids::Dir;
use cellmill_core::keys::JobKind;
use cellmill_service::{Settings, settings};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::bundle::{Bundle, Entry, LeftOut, Material};
use super::names::Names;
use super::of_server::JobName;
use super::{of_home, of_server};
use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, ServerArgs};
use crate::commands::root::HomeArgs;

/// Write a file for whoever helps: version, settings, health, figures, workers, jobs, dead letters
///
/// Of every failed or open job, and of those named, it holds the record, the units, what happened, and the end of the
/// log. It holds no image, no label, no password and no token. Names of images, cases and batches are replaced by words
/// that nobody can turn back; directories of jobs, and names of workers and of people who asked for jobs, stay. What
/// could not be had is listed with the reason. Look at it before you send it.
#[derive(Clone, Debug, clap::Args)]
pub struct SupportArgs {
    /// The file to write; it must not be there yet [default: ./cellmill-support-<time>.zip]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// A job to tell in full, such as `train/DkxD9Kjl`; repeat it for more
    #[arg(long = "job", value_name = "KIND/DIR", value_parser = parse_job)]
    pub(super) jobs: Vec<JobName>,
    /// Leave names and descriptions in it: they may say who a patient is
    #[arg(long)]
    pub(super) with_names: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) home: HomeArgs,
}

fn parse_job(text: &str) -> Result<JobName, String> {
    let form = || "a job is written as `train/DkxD9Kjl`".to_owned();
    let (kind, dir) = text.split_once('/').ok_or_else(form)?;
    let kind = JobKind::parse(kind).ok_or_else(form)?;
    let dir = Dir::parse(dir).map_err(|_| form())?;
    Ok((kind, dir))
}

/// What was written, for programs.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    bytes: usize,
    files: Vec<Entry>,
    left_out: Vec<LeftOut>,
}

pub async fn run(args: &SupportArgs, console: &mut Console) -> Result<Exit, Error> {
    let now = DateTime::<Utc>::from(SystemTime::now());
    let path = args.out.clone().unwrap_or_else(|| {
        let name = now.format("cellmill-support-%Y%m%dT%H%M%SZ.zip");
        PathBuf::from(name.to_string())
    });
    let bundle = gather(args, now).await?;
    write(&path, &bundle.zip)?;
    let written = Written {
        file: path,
        bytes: bundle.zip.len(),
        files: bundle.files,
        left_out: bundle.left_out,
    };
    console.answer(&written, |console, written| show(written, console))?;
    Ok(Exit::Ok)
}

/// Everything that can be had, without a name or a secret.
pub(super) async fn gather(args: &SupportArgs, now: DateTime<Utc>) -> Result<Bundle, Error> {
    // An id has 80 random bits: nobody tries them all.
    let salt = cellmill_worker::fresh_id("salt").to_string();
    let mut material = Material::new(Names::new(salt, args.with_names));
    let version = json!({
        "version": env!("CARGO_PKG_VERSION"), "written_at": now,
        "system": std::env::consts::OS, "processor": std::env::consts::ARCH,
        "optimised": !cfg!(debug_assertions),
    });
    material.json(
        "version.json",
        "what was built, and when this was written",
        version,
    );
    let shown = serde_json::to_value(settings::shown_env()).unwrap_or_default();
    material.json(
        "settings.json",
        "the settings of this command's environment",
        shown,
    );
    let jobs = of_server::gather(&args.server.client()?, &args.jobs, &mut material).await;
    let home = match Settings::from_env() {
        Ok(settings) => args.home.open(&settings).await,
        Err(error) => Err(Error::inner("read the settings")(error)),
    };
    match home {
        Ok((store, queue)) => of_home::gather(&store, &*queue, &jobs, &mut material).await,
        Err(error) => {
            let why = cellmill_service::report(&error);
            let hint = error
                .hint()
                .map_or_else(String::new, |it| format!("; {it}"));
            material.leave_out(
                "everything that the home knows: records, dead letters, disk",
                format!("{why}{hint}; --root or --store and --queue name it"),
            );
        }
    }
    material.pack()
}

/// What is there stays.
fn write(path: &Path, zip: &[u8]) -> Result<(), Error> {
    let mut file = File::create_new(path).map_err(Error::file("make", path))?;
    file.write_all(zip).map_err(Error::file("write", path))
}

fn show(written: &Written, console: &mut Console) -> Result<(), Error> {
    let mut table = Table::new(["file", "size", "what"]);
    for it in &written.files {
        table.row([
            it.name.clone(),
            table::bytes(it.bytes as u64),
            it.what.to_owned(),
        ]);
    }
    console.line(table.render())?;
    let mut table = Table::new(["left out", "why"]);
    for it in &written.left_out {
        table.row([it.what.clone(), it.why.clone()]);
    }
    console.line("")?;
    console.line(table.render())?;
    console.line("")?;
    let size = table::bytes(written.bytes as u64);
    console.line(format_args!(
        "written to {}, {size}",
        written.file.display()
    ))
}
