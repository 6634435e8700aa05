//! `show-jobs`: jobs that are killed, frozen, cancelled, raised and taken over, and what came of them in figures.
//!
//! It knows the programs only from outside: the command line, HTTP, the file tree, signals. Run it by
//! `tests/show/jobs`.
#![expect(
    clippy::print_stderr,
    reason = "progress on stderr is what this program is for"
)]

mod lab;
mod material;
mod programs;
mod records;
mod scenarios;
mod trainings;

use std::process::ExitCode;

use cellmill_tests::show::{Figures, Show, ShowOptions};
use clap::Parser;

use lab::Lab;

const SCENARIOS: &str = "\
Scenarios, in the order they run:
  schedules  the simulation: nothing broken, every event met every state that it can
  bugs       bugs planted in the simulation: how soon each is found
  processes  kill -9, and SIGSTOP beyond the lease, also just before a commit; cancels
  takeover   kill -9 of a worker that trains: when another goes on, and the weights
  cancel     running trainings that are cancelled or stopped
  raise      a job that is raised before thousands of waiting units
  fairness   a large job and a small one: who gets which share of the worker
  legacy     a worker of the predecessor's kind; runs tests in the dev profile, needs Python 3
  examples   the SDK example and the --exec example; as legacy";

/// Jobs that survive, seen from outside, in figures
///
/// The data are folders in the documented layout, with photographs and points; the first of them by name is taken.
/// Prints one JSON line for each figure. Ends with 1 when one falls short.
#[derive(Debug, Parser)]
#[command(name = "tests/show/jobs", after_help = SCENARIOS)]
struct Options {
    #[command(flatten)]
    show: ShowOptions,
    /// Only this scenario
    #[arg(long, value_name = "NAME", value_parser = scenarios::NAMES)]
    only: Option<String>,
    /// Schedules of the scenario `schedules` [default: 100000; 2000 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    schedules: Option<u64>,
    /// Runs of the scenario `processes` [default: 200; 16 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: Option<u32>,
    /// Runs of the scenario `processes` at the same time: five processes each, which mostly wait
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: u32,
    /// Units of the scenarios `raise` and `fairness` [default: 2000; 800 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(800..=10_000))]
    units: Option<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // A wrong command line ends here, with 2.
    let options = Options::parse();
    let show = match Show::new("show-jobs", options.show) {
        Ok(show) => show,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let is_quick = show.options.quick;
    let lab = Lab {
        n_schedules: options
            .schedules
            .unwrap_or(if is_quick { 2_000 } else { 100_000 }),
        n_runs: options.runs.unwrap_or(if is_quick { 16 } else { 200 }),
        at_once: options.at_once as usize,
        n_units: options.units.unwrap_or(if is_quick { 800 } else { 2_000 }),
        show: &show,
    };
    let mut figures = Figures::default();
    let ran = scenarios::run(&lab, &mut figures, options.only.as_deref()).await;
    cellmill_tests::show::scenarios::ended(ran, &figures)
}
