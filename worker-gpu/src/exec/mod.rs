//! `--exec`: any program as an algorithm (DESIGN 7).
//!
//! The program gets a folder and a line of JSON on its standard input, says how far it is with lines of JSON on its
//! standard output, and leaves its outputs in the folder. What it must know stands in `examples/exec-worker/README.md`.
//! Whatever it does, hang, crash, fork, talk nonsense, ends here as the failure of one unit.

mod child;
mod folder;
mod inputs;
mod results;
mod said;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cellmill_core::checkpoint::Checkpoint;
use cellmill_core::keys::JobKind;
use cellmill_worker::{Algorithm, Context, Failure, Outcome, Unit};

use self::child::{Child, Said};
use self::folder::Folder;
use self::said::Line;
use crate::bench::Bench;

/// What is run, and for how long it may be silent.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// A line for the shell.
    pub command: String,
    /// The kinds of units that it does.
    pub kinds: Vec<JobKind>,
    /// A program that says nothing for this long hangs.
    pub silence: Duration,
    /// What it gets to end when its unit is not wanted any more.
    pub grace: Duration,
}

/// A program that does units.
#[derive(Clone, Debug)]
pub struct ExecAlgorithm {
    bench: Bench,
    options: ExecOptions,
}

/// How often a stop is looked for while the program says nothing.
const LOOK: Duration = Duration::from_millis(200);
/// Lines of standard error that stand in the error of a unit.
const LAST_LINES: usize = 10;
/// Lines that are no message are told this often, then only counted.
const MAX_BAD_TOLD: u32 = 20;

impl ExecAlgorithm {
    /// `bench` reads the cells.
    pub fn new(bench: Bench, options: ExecOptions) -> Self {
        Self { bench, options }
    }
}

#[async_trait]
impl Algorithm for ExecAlgorithm {
    fn kinds(&self) -> &[JobKind] {
        &self.options.kinds
    }

    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
        let folder = Folder::make()?;
        let job = inputs::fetch(&self.bench, unit, context, &folder).await?;
        context.check_stop()?;
        let command = &self.options.command;
        let mut child = Child::start(command, &folder, &job.line, self.options.grace)?;
        let mut talk = Talk {
            options: &self.options,
            folder: &folder,
            given: job.checkpoint,
            last_errors: VecDeque::new(),
            told: None,
            has_nothing: false,
            n_bad: 0,
        };
        let ended = talk.listen(&mut child, context).await;
        drop(child);
        ended?;
        results::outcome(unit, context, &folder, job.cells).await
    }
}

/// What was said between a program and its unit.
struct Talk<'a> {
    options: &'a ExecOptions,
    folder: &'a Folder,
    /// The checkpoint that it got to go on from.
    given: Option<Checkpoint>,
    last_errors: VecDeque<String>,
    /// The error that the program told itself.
    told: Option<said::Told>,
    /// It was asked for the best so far, and says that there is nothing.
    has_nothing: bool,
    n_bad: u32,
}

impl Talk<'_> {
    /// Hears the program to its end.
    async fn listen(&mut self, child: &mut Child, context: &mut Context) -> Result<(), Failure> {
        let mut heard = Instant::now();
        let mut asked_to_stop: Option<Instant> = None;
        let mut is_finishing = false;
        loop {
            match tokio::time::timeout(LOOK, child.next()).await {
                Ok(Some(Said::Out(line))) => {
                    heard = Instant::now();
                    self.take(&line, context).await?;
                }
                Ok(Some(Said::Err(line))) => {
                    heard = Instant::now();
                    context.info(&line);
                    self.last_errors.push_back(line);
                    if self.last_errors.len() > LAST_LINES {
                        self.last_errors.pop_front();
                    }
                }
                Ok(Some(Said::Ended(_))) if asked_to_stop.is_some() => {
                    return Err(Failure::Stopped);
                }
                Ok(Some(Said::Ended(status))) => return self.ended(status, context),
                Ok(None) => return Err(temporary("the program was lost".to_owned())),
                Err(_) => {}
            }
            if context.should_finish() && !is_finishing {
                child.ask_to_finish();
                is_finishing = true;
            }
            match asked_to_stop {
                None if context.should_stop() => {
                    child.hand_back();
                    asked_to_stop = Some(Instant::now());
                }
                Some(at) if at.elapsed() > self.options.grace => child.kill(),
                None if heard.elapsed() > self.options.silence => {
                    child.kill();
                    return Err(temporary(format!(
                        "`{}` said nothing for {} s and was ended\nhint: let it say its percent now and then, or give it more with --exec-silence-s",
                        self.options.command,
                        self.options.silence.as_secs()
                    )));
                }
                None | Some(_) => {}
            }
        }
    }

    async fn take(&mut self, line: &str, context: &mut Context) -> Result<(), Failure> {
        match said::parse(line) {
            Ok(Line::Progress {
                percent,
                eta_s,
                step,
            }) => {
                context.report(percent, step.as_deref().unwrap_or("at work"));
                if let Some(eta_s) = eta_s {
                    context.report_eta(eta_s);
                }
            }
            Ok(Line::Log(text)) => context.info(&text),
            Ok(Line::Rejected { key, reason }) => context.rejected(key, "refused", reason),
            Ok(Line::Checkpoint { file, is_best }) => self.keep(&file, is_best, context).await?,
            Ok(Line::Resumed) => {
                if let Some(given) = &self.given {
                    context.resumed_from(given);
                }
            }
            Ok(Line::NothingToKeep) => self.has_nothing = true,
            Ok(Line::Error(told)) => self.told = Some(told),
            Err(why) => {
                self.n_bad += 1;
                if self.n_bad <= MAX_BAD_TOLD {
                    let shown: String = line.chars().take(200).collect();
                    context.warn(&format!("passed over a line of its output, {why}: {shown}"));
                }
            }
        }
        Ok(())
    }

    /// Makes a checkpoint durable and names it.
    async fn keep(
        &mut self,
        file: &str,
        is_best: bool,
        context: &mut Context,
    ) -> Result<(), Failure> {
        let bytes = match self.folder.read_checkpoint(file) {
            Ok(bytes) => bytes,
            Err(why) => {
                context.warn(&format!("checkpoint not kept: {why}"));
                return Ok(());
            }
        };
        context.write_checkpoint(file, bytes, is_best).await
    }

    fn ended(&mut self, status: ExitStatus, context: &Context) -> Result<(), Failure> {
        if self.n_bad > MAX_BAD_TOLD {
            let more = self.n_bad - MAX_BAD_TOLD;
            context.warn(&format!("{more} more lines of its output were passed over"));
        }
        if let Some(told) = self.told.take() {
            let what = told.error;
            return Err(if told.permanent {
                Failure::Permanent { what, source: None }
            } else {
                temporary(what)
            });
        }
        if self.has_nothing && context.should_finish() {
            return Err(Failure::NothingToKeep);
        }
        if status.success() {
            return Ok(());
        }
        let said: Vec<&str> = self.last_errors.iter().map(String::as_str).collect();
        let said = if said.is_empty() {
            "it said nothing on its standard error".to_owned()
        } else {
            format!("its standard error ends with: {}", said.join(" | "))
        };
        let command = &self.options.command;
        Err(temporary(format!(
            "`{command}` ended with {status}; {said}"
        )))
    }
}

fn temporary(what: String) -> Failure {
    Failure::Temporary { what, source: None }
}
