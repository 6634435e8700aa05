//! Servers and workers as processes of their own, each of which can be killed and frozen alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::child::Running;
use cellmill_tests::show::http::Client;
use cellmill_tests::show::process::Program;
use cellmill_tests::show::wait::wait_until;

use crate::lab::beside_this_one;

const LIMIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// A setting in the environment.
pub(crate) type Setting<'a> = (&'a str, &'a str);

/// `cellmill up` over a root, without workers of its own.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) client: Client,
}

impl Server {
    /// Starts it on a port that it chooses itself, and waits until it answers. `name` is that of its log, beside
    /// the root, which must be a new one.
    pub(crate) async fn start(
        program: &Program,
        root: &Path,
        name: &str,
        settings: &[Setting<'_>],
    ) -> Result<Self> {
        let root_text = root.to_string_lossy();
        let arguments = ["--listen", "127.0.0.1:0", "--workers", "0"];
        let mut command =
            program.command(&[&["up", "--root", &root_text], &arguments[..]].concat());
        command.envs(settings.iter().copied());
        let mut process = Running::start(&mut command, &log(root, name))?;
        let url = wait_until("`up` says where it is", LIMIT, PAUSE, async || {
            ensure!(process.is_alive(), "`up` ended: {}", process.log()?);
            Ok(process.log()?.lines().find_map(url_of))
        })
        .await?;
        let client = Client::new(&url);
        wait_until("`up` answers", LIMIT, PAUSE, async || {
            Ok(client.is_healthy().await.then_some(()))
        })
        .await?;
        Ok(Self { process, client })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop(LIMIT).await.map(drop)
    }
}

/// The address in `cellmill is up at http://127.0.0.1:4711, root /data`.
fn url_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("cellmill is up at ")?;
    Some(rest.split_once(", root")?.0.to_owned())
}

/// `worker-gpu` beside a server, with a unit at a time.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Running,
}

impl Worker {
    pub(crate) fn start(
        root: &Path,
        name: &str,
        arguments: &[&str],
        settings: &[Setting<'_>],
    ) -> Result<Self> {
        let mut command = Command::new(beside_this_one("worker-gpu")?);
        command
            .args(["--store", &format!("file://{}", root.display())])
            .args(["--threads", "1", "--no-preannotate"])
            .args(arguments)
            .envs(settings.iter().copied());
        let process = Running::start(&mut command, &log(root, name))?;
        Ok(Self { process })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop(LIMIT).await.map(drop)
    }
}

/// The process of a worker, which stands in its name: `worker-<process>-<more>`.
pub(crate) fn process_of(owner: &str) -> Option<u32> {
    owner
        .strip_prefix("worker-")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

/// Where a program beside a root logs to.
pub(crate) fn log(root: &Path, name: &str) -> PathBuf {
    root.with_file_name(format!("{name}.log"))
}

/// Starts the worker of the SDK example.
pub(crate) fn start_sdk_worker(root: &Path, class: &str, area: &str) -> Result<Running> {
    let mut command = Command::new(beside_this_one("example-sdk-worker")?);
    command.arg(root).args([class, area]);
    Running::start(&mut command, &log(root, "sdk-worker")).context("start the SDK example")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_process_are_read() {
        let line = "cellmill is up at http://127.0.0.1:4711, root /a, root b";
        assert_eq!(url_of(line).as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(url_of("2026-01-01 INFO worker started"), None);
        assert_eq!(process_of("worker-4711-01JABC"), Some(4711));
        assert_eq!(process_of("up-01JABC"), None);
    }
}
