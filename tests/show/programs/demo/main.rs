//! `show-demo`: trains, predicts and pre-annotates with the real programs and says in figures what came of it.
//!
//! It knows the programs only from outside: the command line, HTTP, the file tree. What it expects it computes from
//! the data by readers of its own, so it works on any data of the same shape. Run it by `tests/show/demo`.
#![expect(
    clippy::print_stderr,
    reason = "progress on stderr is what this program is for"
)]

mod demo_report;
mod material;
mod scenarios;

use std::process::ExitCode;

use cellmill_tests::show::{Figures, Show, ShowOptions};
use clap::Parser;

/// From cells to a trained classifier to predictions, seen from outside, in figures
///
/// The data are bccd/ and cric/ in the documented layout and cells/ with a folder for each class. Prints one JSON
/// line for each figure. Ends with 1 when one falls short.
#[derive(Debug, Parser)]
#[command(name = "tests/show/demo")]
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
    let show = match Show::new("show-demo", options.show) {
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
