//! Programs that are run to their end for what they say.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// An example that was built with this program.
pub(crate) fn example(name: &str) -> Result<Command> {
    let own = std::env::current_exe().context("find this program")?;
    let path = own.with_file_name("examples").join(name);
    ensure!(
        path.is_file(),
        "{} is not built: tests/show/detect builds it",
        path.display()
    );
    Ok(Command::new(path))
}

/// Runs a command to its end and gives what it said on stdout. What it says on stderr is shown.
pub(crate) fn heard(command: &mut Command) -> Result<String> {
    let ran = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        ran.status.success(),
        "{command:?} ended with {}",
        ran.status
    );
    String::from_utf8(ran.stdout).with_context(|| format!("{command:?} says no text"))
}
