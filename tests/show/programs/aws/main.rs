//! `show-aws`: the lab on an emulated AWS, driven by the real programs, and what came of it in figures.
//!
//! Everything is a process of its own: the emulator with the functions, workers, commands. What is between them goes
//! through a proxy where it is counted or broken. Run it by `tests/show/aws`.
#![expect(
    clippy::print_stderr,
    reason = "progress on stderr is what this program is for"
)]

mod flow;
mod lab;
mod material;
mod scenarios;
mod settled;

use std::path::PathBuf;
use std::process::ExitCode;

use cellmill_tests::show::{Figures, Show, ShowOptions};
use clap::Parser;

use lab::Lab;

/// The lab on an emulated AWS, seen from outside, in figures
///
/// The data are folders in the documented layout, and hostile/. Prints one JSON line for each figure. Ends with 1
/// when one falls short.
#[derive(Debug, Parser)]
#[command(name = "tests/show/aws")]
struct Options {
    #[command(flatten)]
    show: ShowOptions,
    /// Only this scenario
    #[arg(long, value_name = "NAME", value_parser = scenarios::NAMES)]
    only: Option<String>,
    /// Port of the emulator [default: a free one]
    #[arg(long, value_name = "PORT")]
    endpoint_port: Option<u16>,
    /// Objects of the scenario `pump` [default: 10000; 400 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(20..))]
    objects: Option<u32>,
    /// Waiting units of the scenario `scaling` [default: 5000; 800 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(20..=10_000))]
    units: Option<u32>,
    /// The zips of the functions
    #[arg(long, value_name = "DIR")]
    lambdas: PathBuf,
    /// Where the emulator is installed and keeps its state
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    // A wrong command line ends here, with 2.
    let options = Options::parse();
    let show = match Show::new("show-aws", options.show) {
        Ok(show) => show,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let few = |all: u32, some: u32| if show.options.quick { some } else { all };
    let lab = Lab {
        n_objects: options.objects.unwrap_or(few(10_000, 400)),
        n_units: options.units.unwrap_or(few(5_000, 800)),
        port: options.endpoint_port,
        lambdas: options.lambdas,
        state: options.state,
        show: &show,
    };
    let mut figures = Figures::default();
    let ran = scenarios::run(&lab, &mut figures, options.only.as_deref()).await;
    cellmill_tests::show::scenarios::ended(ran, &figures)
}
