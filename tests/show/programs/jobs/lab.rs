//! What the scenarios share: the options, and other programs that were built with this one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Show;

/// The show and what was asked of it.
#[derive(Debug)]
pub(crate) struct Lab<'a> {
    pub(crate) show: &'a Show,
    pub(crate) n_schedules: u64,
    pub(crate) n_runs: u32,
    pub(crate) at_once: usize,
    pub(crate) n_units: u32,
}

/// A program that was built with this one.
pub(crate) fn beside_this_one(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "{} is not built", path.display());
    Ok(path)
}

/// The folder of the sources that this program was built from.
pub(crate) fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Runs a command to its end: what it says on stderr is shown, its exit code and stdout are the answer.
pub(crate) async fn heard(mut command: Command) -> Result<(Option<i32>, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let ran = tokio::task::spawn_blocking(move || command.output()).await?;
    let Output { status, stdout, .. } = ran.with_context(|| format!("run {name}"))?;
    Ok((status.code(), String::from_utf8_lossy(&stdout).into_owned()))
}
