//! What the scenarios share: the options, the examples that were built with this program, and a Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cellmill_tests::show::{Figures, Show};
use serde_json::Value;

/// All networks, as settings name them.
pub(crate) const NETS: [&str; 7] = [
    "mobilenet",
    "efficientnet_lite0",
    "resnet18",
    "resnet34",
    "vgg11",
    "vgg16",
    "unet",
];

/// Those whose speed is compared.
pub(crate) const SPEED_NETS: [&str; 5] = ["mobilenet", "resnet18", "vgg11", "vgg16", "unet"];

/// The show and what was asked of it.
#[derive(Debug)]
pub(crate) struct Lab<'a> {
    pub(crate) show: &'a Show,
    net: Option<String>,
    pub(crate) is_cuda: bool,
    /// Found once: making an environment takes minutes. The text says why there is none.
    python: OnceLock<Result<PathBuf, String>>,
}

impl<'a> Lab<'a> {
    pub(crate) fn new(show: &'a Show, net: Option<String>, is_cuda: bool) -> Self {
        Self {
            show,
            net,
            is_cuda,
            python: OnceLock::new(),
        }
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.show.options.quick
    }

    /// Is this network to be looked at?
    pub(crate) fn wants(&self, net: &str) -> bool {
        self.net.as_deref().is_none_or(|it| it == net)
    }

    /// A script of tests/peers in a Python with torch, numpy and Pillow.
    pub(crate) fn python(&self, script: &str) -> Result<Command> {
        let found = self
            .python
            .get_or_init(|| find_python().map_err(|it| format!("{it:#}")));
        let python = found.as_ref().map_err(|it| anyhow!("{it}"))?;
        let mut command = Command::new(python);
        command.arg(peers().join(script));
        Ok(command)
    }
}

fn find_python() -> Result<PathBuf> {
    let ran = Command::new(peers().join("python.sh"))
        .arg(target_folder()?.join("torch-venv"))
        .stderr(Stdio::inherit())
        .output()
        .context("run tests/peers/python.sh")?;
    ensure!(
        ran.status.success(),
        "PyTorch is missing: set CELLMILL_TEST_PYTHON to a Python with torch, numpy and pillow"
    );
    let path = String::from_utf8(ran.stdout).context("the path of a Python")?;
    Ok(PathBuf::from(path.trim()))
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// The folder of the sources that this program was built from.
pub(crate) fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Where cargo builds to.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let folder = own.ancestors().nth(2).context("a target folder")?;
    Ok(folder.to_owned())
}

/// An example of crates/nets that was built with this program.
pub(crate) fn example(name: &str) -> Result<Command> {
    let own = std::env::current_exe().context("find this program")?;
    let path = own.with_file_name("examples").join(name);
    ensure!(
        path.is_file(),
        "{} is not built: cargo build --release -p cellmill-nets --examples",
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

/// The last line of what a command said, which is JSON.
pub(crate) fn last_json(said: &str) -> Result<Value> {
    let Some(line) = said.lines().rfind(|it| it.trim_start().starts_with('{')) else {
        bail!("there is no line of JSON in `{}`", said.trim());
    };
    serde_json::from_str(line).with_context(|| format!("`{line}` is no JSON"))
}

/// What else the machine was doing: figures of a busy one are not to be quoted.
pub(crate) fn tell_machine(figures: &mut Figures, name: &str) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    figures.told(&format!("{name}.cores"), cores as f64, "cores");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|it| it.parse().ok());
    let unit = "processes that ran in the minute before";
    figures.told(&format!("{name}.load"), load.unwrap_or(f64::NAN), unit);
}

/// The middle of the values; NaN when there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn json_is_read_from_the_last_line_that_holds_some() {
        assert_eq!(
            last_json("warm\n{\"a\":1}\n{\"a\":2}\ndone\n").unwrap()["a"],
            2
        );
        assert!(last_json("nothing").is_err());
    }
}
