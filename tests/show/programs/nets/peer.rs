//! Who is measured: `PyTorch` in a process that waits for its turns, and the example `speed` run for each turn.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::{Lab, example, heard, last_json};

/// What is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) net: &'a str,
    /// `infer` or `train`.
    pub(crate) mode: &'a str,
    pub(crate) n_threads: u32,
}

/// One turn of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) images_per_s: f64,
    /// Time of all threads of the process.
    pub(crate) cpu_ms: f64,
    /// The most resident memory of the process so far.
    pub(crate) peak_mib: f64,
}

impl Turn {
    fn read(said: &Value) -> Result<Self> {
        let number = |name: &str| {
            let it = said[name].as_f64();
            it.with_context(|| format!("{said} has no number {name}"))
        };
        Ok(Self {
            images_per_s: number("images_per_second")?,
            cpu_ms: number("cpu_ms_per_image")?,
            peak_mib: number("peak_mib")?,
        })
    }
}

/// A turn of ours.
pub(crate) fn own_turn(load: Load<'_>, seconds: f64) -> Result<Turn> {
    let mut command = example("speed")?;
    turn_of(&mut command, load, seconds)
}

/// A turn of the example `speed` that `command` names.
pub(crate) fn turn_of(command: &mut Command, load: Load<'_>, seconds: f64) -> Result<Turn> {
    let (threads, seconds) = (load.n_threads.to_string(), seconds.to_string());
    command
        .args(["--net", load.net, "--mode", load.mode])
        .args(["--threads", &threads, "--seconds", &seconds]);
    Turn::read(&last_json(&heard(command)?)?)
}

/// A process of `tests/peers/torch_speed.py`. Between its turns it sleeps. It is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Torch {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Torch {
    /// Starts it and waits until it is warm.
    pub(crate) fn start(lab: &Lab<'_>, load: Load<'_>, more: &[&str]) -> Result<Self> {
        let mut command = lab.python("torch_speed.py")?;
        let threads = load.n_threads.to_string();
        let mut child = command
            .args([
                "--net",
                load.net,
                "--mode",
                load.mode,
                "--threads",
                &threads,
            ])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("start torch_speed.py")?;
        let answers = child.stdout.take().context("its standard output")?;
        let mut torch = Self {
            ask: child.stdin.take(),
            answers: BufReader::new(answers),
            child,
            ready: Value::Null,
        };
        torch.ready = torch.answer()?;
        Ok(torch)
    }

    pub(crate) fn turn(&mut self, seconds: f64) -> Result<Turn> {
        let ask = self.ask.as_mut().context("its standard input")?;
        writeln!(ask, "run {seconds}").context("ask torch_speed.py")?;
        Turn::read(&self.answer()?)
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        let n = self
            .answers
            .read_line(&mut line)
            .context("read an answer")?;
        ensure!(n > 0, "torch_speed.py ended: see above");
        serde_json::from_str(&line).with_context(|| format!("`{}` is no JSON", line.trim()))
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // Without further lines it ends by itself; `kill` is for one that hangs.
        drop(self.ask.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
