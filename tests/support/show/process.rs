//! The programs as child processes. Only processes started here are ended here, by their own ids.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::http::Client;
use super::wait::wait_until;

/// Where the program `cellmill` lies.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Program {
    /// The one that was built with this one.
    pub fn beside_this_one() -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let path = own.with_file_name("cellmill");
        ensure!(path.is_file(), "{} is not built", path.display());
        Ok(Self { path })
    }

    /// One that lies elsewhere.
    pub fn at(path: &Path) -> Result<Self> {
        ensure!(path.is_file(), "{} is not built", path.display());
        Ok(Self {
            path: path.to_owned(),
        })
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Result<Ran> {
        self.run_with(args, &[]).await
    }

    /// As [`Program::run`], with settings in the environment.
    pub async fn run_with(&self, args: &[&str], settings: &[(&str, &str)]) -> Result<Ran> {
        let mut command = self.command(args);
        command.envs(settings.iter().copied());
        let ran = tokio::task::spawn_blocking(move || command.output()).await?;
        let Output {
            status,
            stdout,
            stderr,
        } = ran.with_context(|| format!("run cellmill {args:?}"))?;
        Ok(Ran {
            code: status.code(),
            stdout,
            stderr,
        })
    }
}

impl Ran {
    /// The JSON that a command printed.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.stdout).with_context(|| {
            let said = String::from_utf8_lossy(&self.stderr);
            format!("the command ended with {:?}: {said}", self.code)
        })
    }

    /// Everything that a command said, to whomever.
    pub fn said(&self) -> String {
        let texts = [&self.stdout, &self.stderr].map(|it| String::from_utf8_lossy(it));
        texts.join("\n")
    }

    /// Fails with what the command said, unless it ended well.
    pub fn must_be_ok(self, what: &str) -> Result<Self> {
        ensure!(
            self.code == Some(0),
            "{what} ended with {:?}: {}",
            self.code,
            self.said().trim()
        );
        Ok(self)
    }
}

/// A running `cellmill up`.
#[derive(Debug)]
pub struct Mill {
    child: Child,
    client: Client,
    root: PathBuf,
    log: PathBuf,
}

impl Mill {
    /// Starts `up` over a root and waits until it answers.
    pub async fn up(program: &Program, root: &Path) -> Result<Self> {
        Self::up_with(program, root, &[]).await
    }

    /// As [`Mill::up`], with settings in the environment.
    pub async fn up_with(
        program: &Program,
        root: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let mut mill = Self::spawn(program, root, settings)?;
        mill.wait_until_healthy().await?;
        Ok(mill)
    }

    /// Starts `up` and does not wait.
    pub fn spawn(program: &Program, root: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let log = root.with_extension("log");
        let open = || File::options().append(true).create(true).open(&log);
        let said = open().with_context(|| format!("open {}", log.display()))?;
        let shown = said.try_clone().context("share the log")?;
        let root_text = root.to_string_lossy();
        let child = program
            .command(&["up", "--root", &root_text, "--listen", &address])
            .envs(settings.iter().copied())
            .stdout(shown)
            .stderr(said)
            .spawn()
            .context("start cellmill up")?;
        Ok(Self {
            child,
            client: Client::new(&format!("http://{address}")),
            root: root.to_owned(),
            log,
        })
    }

    pub async fn wait_until_healthy(&mut self) -> Result<()> {
        let (child, client, log) = (&mut self.child, &self.client, &self.log);
        wait_until(
            "`up` answers",
            Duration::from_mins(2),
            Duration::from_millis(5),
            async || {
                if let Some(status) = child.try_wait().context("look after `up`")? {
                    bail!("`up` ended with {status}: see {}", log.display());
                }
                Ok(client.is_healthy().await.then_some(()))
            },
        )
        .await
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn url(&self) -> &str {
        self.client.base()
    }

    /// What it wrote to stdout and stderr.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`: no chance to put anything in order.
    pub fn kill(mut self) -> Result<()> {
        ensure!(
            self.is_alive(),
            "`up` had ended already: see {}",
            self.log.display()
        );
        self.child.kill().context("kill `up`")?;
        self.child.wait().context("wait for the killed `up`")?;
        Ok(())
    }

    /// Asks it to end, as a service manager does.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        ensure!(
            sent.context("run kill")?.success(),
            "`up` had ended already"
        );
        let child = &mut self.child;
        wait_until(
            "`up` has ended",
            Duration::from_secs(40),
            Duration::from_millis(20),
            async || Ok(child.try_wait().context("look after `up`")?.map(|_| ())),
        )
        .await
    }

    /// Resident memory now, in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        self.status_field("VmRSS:")
    }

    /// The most resident memory that it ever had, in MiB: the kernel's own maximum, which no sampling can miss.
    pub fn peak_mib(&self) -> Result<f64> {
        self.status_field("VmHWM:")
    }

    fn status_field(&self, name: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let kib = status
            .lines()
            .find_map(|it| it.strip_prefix(name))
            .and_then(|it| it.split_whitespace().next())
            .and_then(|it| it.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("{path} has no {name}"))? / 1024.0)
    }
}

impl Drop for Mill {
    /// A scenario that broke off leaves nothing running.
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr().context("read the free port")?.port())
}
