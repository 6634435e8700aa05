//! `jobs`: what is being worked on, and what people want of it.

use std::time::Duration;

use cellmill_api::views::{JobView, RunningUnit};
use cellmill_core::job::JobState;
use cellmill_core::keys::JobKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, ServerArgs, Tone};
use crate::client::{Client, JobWish};

/// Look at jobs, cancel, stop or raise them, repeat failed ones
#[derive(Clone, Debug, clap::Subcommand)]
pub enum JobsCommand {
    /// List jobs
    Ls(LsArgs),
    /// Show one job with the units that run
    Show(JobArgs),
    /// Print a job's log
    Log(JobArgs),
    /// End a job without a result
    Cancel(JobArgs),
    /// End a training now, with the best epoch so far as its model
    Stop(JobArgs),
    /// Let a job's units go before those of others
    Raise(JobArgs),
    /// Do the failed units of a failed job again
    Retry(JobArgs),
    /// Follow a job until it ends
    Watch(JobArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Only jobs in this state
    #[arg(long, value_parser = ["assembling", "queued", "running", "collecting", "done", "failed", "cancelled"])]
    state: Option<String>,
    /// Only jobs of this kind
    #[arg(long, value_parser = parse_kind)]
    kind: Option<JobKind>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct JobArgs {
    /// Its directory, such as `DkxD9Kjl`
    dir: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Its kind, where it is not to be looked up
    #[arg(long, value_parser = parse_kind)]
    kind: Option<JobKind>,
}

impl JobArgs {
    /// The server, and which job of it.
    async fn find(&self) -> Result<(Client, JobKind), Error> {
        let client = self.server.client()?;
        let kind = match self.kind {
            Some(kind) => kind,
            None => client.kind_of(&self.dir).await?,
        };
        Ok((client, kind))
    }
}

fn parse_kind(text: &str) -> Result<JobKind, String> {
    let kinds = JobKind::ALL.map(JobKind::as_str).join(", ");
    JobKind::parse(text).ok_or_else(|| format!("the kinds of jobs are {kinds}"))
}

pub(crate) async fn run(command: JobsCommand, console: &mut Console) -> Result<Exit, Error> {
    match command {
        JobsCommand::Ls(args) => ls(&args, console).await,
        JobsCommand::Show(args) => {
            let (client, kind) = args.find().await?;
            let job = client.job(kind, &args.dir).await?;
            console.answer(&job, show)?;
            Ok(Exit::Ok)
        }
        JobsCommand::Log(args) => log(&args, console).await,
        JobsCommand::Cancel(args) => wish(&args, JobWish::Cancel, console).await,
        JobsCommand::Stop(args) => wish(&args, JobWish::Stop, console).await,
        JobsCommand::Raise(args) => wish(&args, JobWish::Raise, console).await,
        JobsCommand::Retry(args) => wish(&args, JobWish::Retry, console).await,
        JobsCommand::Watch(args) => {
            let (client, kind) = args.find().await?;
            let job = wait(&client, kind, &args.dir, console).await?;
            console.answer(&job, show)?;
            Ok(exit_of(&job))
        }
    }
}

async fn ls(args: &LsArgs, console: &mut Console) -> Result<Exit, Error> {
    let filters = [
        ("state", args.state.as_deref().unwrap_or_default()),
        ("kind", args.kind.map_or("", JobKind::as_str)),
    ];
    let jobs = args.server.client()?.jobs(&filters).await?;
    console.answer(&jobs, |console, jobs| {
        if jobs.is_empty() {
            return console.line("no jobs");
        }
        let mut table = Table::new([
            "kind",
            "directory",
            "state",
            "percent",
            "units",
            "left",
            "for",
        ]);
        for job in jobs {
            table.row([
                job.kind.as_str().to_owned(),
                job.dir.to_string(),
                state_of(console, job),
                job.percent.to_string(),
                units_of(job),
                job.eta_s.map(table::seconds).unwrap_or_default(),
                job.description.clone(),
            ]);
        }
        console.line(table.render())
    })?;
    Ok(Exit::Ok)
}

async fn log(args: &JobArgs, console: &mut Console) -> Result<Exit, Error> {
    let (client, kind) = args.find().await?;
    let log = client.job_log(kind, &args.dir).await?;
    console.answer(&log, |console, log| console.text(log))?;
    Ok(Exit::Ok)
}

async fn wish(args: &JobArgs, wish: JobWish, console: &mut Console) -> Result<Exit, Error> {
    let (client, kind) = args.find().await?;
    let job = client.wish(kind, &args.dir, wish).await?;
    console.answer(&job, |console, job| {
        let state = state_of(console, job);
        let stops = match (wish, job.state) {
            (JobWish::Stop, JobState::Running | JobState::Queued) => {
                ": it stops at its worker's next heartbeat (15 s), then the best epoch so far is judged and becomes its model"
            }
            (JobWish::Raise, _) => ", and goes before others",
            _ => "",
        };
        console.line(format_args!(
            "{} job {} is {state}{stops}",
            job.kind.as_str(),
            job.dir
        ))
    })?;
    Ok(Exit::Ok)
}

fn show(console: &mut Console, job: &JobView) -> Result<(), Error> {
    let mut table = Table::of_pairs();
    let mut row = |what: &str, value: String| {
        if !value.is_empty() {
            table.row([what.to_owned(), value]);
        }
    };
    row(
        "job",
        format!("{} {} (number {})", job.kind.as_str(), job.dir, job.number),
    );
    row("for", job.description.clone());
    row("state", state_of(console, job));
    row("percent", job.percent.to_string());
    row("units", units_of(job));
    row("left", job.eta_s.map(table::seconds).unwrap_or_default());
    row(
        "last sign of life",
        format!("{} ago", table::seconds(job.fresh_s)),
    );
    row(
        "silent since",
        job.silent_since.map(table::moment).unwrap_or_default(),
    );
    row("ended early", job.ended_early.clone().unwrap_or_default());
    if job.wishes.stop && !job.state.is_ended() {
        row(
            "wished",
            "stop: it ends with the best epoch so far".to_owned(),
        );
    }
    row("waits for", job.waits_for.clone().unwrap_or_default());
    row(
        "round",
        if job.round > 0 {
            job.round.to_string()
        } else {
            String::new()
        },
    );
    let error = job.error.as_deref().unwrap_or_default();
    let (error, hint) = error.split_once("\nhint: ").unwrap_or((error, ""));
    row("error", error.to_owned());
    row("hint", hint.to_owned());
    console.line(table.render())?;
    if !job.running.is_empty() {
        let mut units = Table::new(["unit", "attempt", "worker", "percent", "step", "left"]);
        for unit in &job.running {
            units.row([
                unit.unit.to_string(),
                attempt_of(unit),
                unit.owner
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                unit.percent.to_string(),
                unit.step.clone(),
                unit.eta_s.map(table::seconds).unwrap_or_default(),
            ]);
        }
        console.line("")?;
        console.line(units.render())?;
    }
    if !job.history.is_empty() {
        let mut history = Table::new(["when", "what"]);
        for change in &job.history {
            history.row([table::moment(change.at), change.what.clone()]);
        }
        console.line("")?;
        console.line(history.render())?;
    }
    Ok(())
}

/// The job's state in its colour.
pub(super) fn state_of(console: &Console, job: &JobView) -> String {
    let tone = match job.state {
        JobState::Done => Tone::Good,
        JobState::Failed => Tone::Bad,
        JobState::Cancelled => Tone::Plain,
        _ => Tone::Busy,
    };
    console.paint(tone, job.state.as_str())
}

/// `2, resumed at 38 %`
fn attempt_of(unit: &RunningUnit) -> String {
    let resumed = unit.resumed_percent;
    let resumed = resumed.map_or(String::new(), |it| format!(", resumed at {it} %"));
    format!("{}{resumed}", unit.attempt)
}

fn units_of(job: &JobView) -> String {
    let units = job.units;
    let mut parts = vec![format!("{}/{}", units.done, units.count)];
    for (n, what) in [(units.failed, "failed"), (units.running, "running")] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    parts.join(", ")
}

/// What the end of a job means to a program that waited for it.
pub(super) fn exit_of(job: &JobView) -> Exit {
    if job.state == JobState::Done {
        Exit::Ok
    } else {
        Exit::Failed
    }
}

/// Follows a job until it ends, with a bar on a terminal.
pub(crate) async fn wait(
    client: &Client,
    kind: JobKind,
    dir: &str,
    console: &Console,
) -> Result<JobView, Error> {
    let target = if console.shows_progress() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(100), target);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} %");
    bar.set_style(style.expect("the template is a constant"));
    let mut pause = Duration::from_millis(100);
    loop {
        let job = client.job(kind, dir).await?;
        let left = job.eta_s.map(|it| format!(", {} left", table::seconds(it)));
        // What one unit does is what the job does; of many, none speaks for the others.
        let step = match &job.running[..] {
            [unit] if job.units.count == 1 && !unit.step.is_empty() => {
                let attempt = if unit.attempt > 1 {
                    format!(" (attempt {})", attempt_of(unit))
                } else {
                    String::new()
                };
                format!(": {}{attempt}", unit.step)
            }
            _ => String::new(),
        };
        bar.set_message(format!(
            "{}{step}{}",
            job.state.as_str(),
            left.unwrap_or_default()
        ));
        bar.set_position(u64::from(job.percent));
        if job.state.is_ended() {
            bar.finish_and_clear();
            return Ok(job);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(2));
    }
}
