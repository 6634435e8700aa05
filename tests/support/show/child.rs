//! A program as a child process, with what it says in a log. Ended by its own id only.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::wait::wait_until;

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a command; what it says goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let open = || File::options().append(true).create(true).open(log);
        let said = open().with_context(|| format!("open {}", log.display()))?;
        let shown = said.try_clone().context("share the log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(shown)
            .stderr(said)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`: no chance to put anything in order.
    pub fn kill(mut self) -> Result<()> {
        ensure!(
            self.is_alive(),
            "it had ended already: see {}",
            self.log.display()
        );
        self.child.kill().context("kill a program")?;
        self.child.wait().context("wait for a killed program")?;
        Ok(())
    }

    /// Asks it to end, as a service manager does, and waits; says how long that took.
    pub async fn stop(mut self, limit: Duration) -> Result<Duration> {
        let begun = std::time::Instant::now();
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        ensure!(sent.context("run kill")?.success(), "it had ended already");
        self.ended(limit).await?;
        Ok(begun.elapsed())
    }

    /// Waits until it has ended by itself; its exit code.
    pub async fn ended(&mut self, limit: Duration) -> Result<Option<i32>> {
        let child = &mut self.child;
        let pause = Duration::from_millis(20);
        wait_until("a program has ended", limit, pause, async || {
            child.try_wait().context("look after a program")
        })
        .await
        .map(|it| it.code())
    }

    /// The most resident memory that a process ever had, in MiB: the kernel's own maximum.
    pub fn peak_mib_of(id: u32) -> Result<f64> {
        let path = format!("/proc/{id}/status");
        let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let kib = status
            .lines()
            .find_map(|it| it.strip_prefix("VmHWM:"))
            .and_then(|it| it.split_whitespace().next())
            .and_then(|it| it.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("{path} has no VmHWM"))? / 1024.0)
    }

    /// The processes that a process started.
    pub fn children_of(id: u32) -> Result<Vec<u32>> {
        let path = format!("/proc/{id}/task");
        let mut children = Vec::new();
        for task in std::fs::read_dir(&path).with_context(|| format!("read {path}"))? {
            let file = task.context("a thread")?.path().join("children");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            children.extend(
                text.split_whitespace()
                    .filter_map(|it| it.parse::<u32>().ok()),
            );
        }
        Ok(children)
    }
}

impl Drop for Running {
    /// A scenario that broke off leaves nothing running.
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
