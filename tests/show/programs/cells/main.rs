//! `show-cells`: drives the real programs over real photographs and says in figures what came of it.
//!
//! It knows the programs only from outside: the command line, HTTP, the file tree. What it expects it computes from
//! the data by readers of its own, so it works on any data of the same shape. Run it by `tests/show/cells`.
#![expect(
    clippy::print_stderr,
    reason = "progress on stderr is what this program is for"
)]

mod finder_score;
mod scenarios;

use std::process::ExitCode;

use cellmill_tests::show::{Figures, Show, ShowOptions};
use clap::Parser;

/// Photographs and points in, checked images, labels, cells and data sets out: seen from outside, in figures
///
/// The data are folders with img/ and csv/ in the documented layout, and hostile/. Prints one JSON line for each
/// figure. Ends with 1 when one falls short.
#[derive(Debug, Parser)]
#[command(name = "tests/show/cells")]
struct Options {
    #[command(flatten)]
    show: ShowOptions,
    /// Only this scenario
    #[arg(long, value_name = "NAME", value_parser = scenarios::NAMES)]
    only: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // A wrong command line ends here, with 2.
    let options = Options::parse();
    let show = match Show::new("show-cells", options.show) {
        Ok(show) => show,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let mut figures = Figures::default();
    let ran = scenarios::run(&show, &mut figures, options.only.as_deref()).await;
    cellmill_tests::show::scenarios::ended(ran, &figures)
}
