//! `show-detect`: finds cells with the classical finder and with detectors that learned it, and says in figures how well.
//!
//! It knows the programs only from outside: the command line, HTTP, the file tree. Run it by `tests/show/detect`.
#![expect(
    clippy::print_stderr,
    reason = "progress on stderr is what this program is for"
)]

mod heard;
mod scenarios;

use std::process::ExitCode;

use cellmill_tests::show::{Figures, Show, ShowOptions};
use clap::Parser;

const SCENARIOS: &str = "\
Scenarios, in the order they run:
  finder   the classical finder: how well, and how fast beside OpenCV and scikit-image
  bccd     detectors from scratch and from ImageNet weights, and data sets made with them
  nuclei   segmenters of nuclei, judged on held-out thirds
  hostile  odd and broken pictures through a detector";

/// Cells found in figures: by the classical finder, and by detectors that learned from boxes
///
/// The data are bccd/ in the documented layout with split.csv and boxes, nuclei/, cric/extra/, hostile/, and
/// weights/efficientnet-lite0.safetensors. Prints one JSON line for each figure. Ends with 1 when one falls short.
#[derive(Debug, Parser)]
#[command(name = "tests/show/detect", after_help = SCENARIOS)]
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
    let show = match Show::new("show-detect", options.show) {
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
