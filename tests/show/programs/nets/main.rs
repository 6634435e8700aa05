//! `show-nets`: puts figures to the networks, beside `PyTorch` in the same run, and to what is made with them.
//!
//! It knows the programs only from outside: examples, the command line, HTTP, the file tree. Run it by
//! `tests/show/nets`.
#![expect(
    clippy::print_stderr,
    reason = "progress on stderr is what this program is for"
)]

mod lab;
mod peer;
mod scenarios;

use std::process::ExitCode;

use cellmill_tests::show::{Figures, Show, ShowOptions};
use clap::Parser;

use lab::Lab;

const SCENARIOS: &str = "\
Scenarios, in the order they run:
  speed        each network beside PyTorch's best layout, in turns
  losses       20 steps from the same weights as PyTorch, each network
  cells        negative / positive by field: with ImageNet weights and from scratch
  bccd         three kinds of blood cells by case
  pipeline     training and prediction with all that is around the network
  preannotate  new images labelled by a model: one alone, and many at once
  cuda         the CUDA flavour; only with --cuda or --only cuda";

/// Networks in figures: how fast beside `PyTorch`, how right, how good
///
/// The data are bccd/ in the documented layout, cells/ with a folder for each class, and
/// weights/efficientnet-lite0.safetensors. Prints one JSON line for each figure. Ends with 1 when one falls short.
#[derive(Debug, Parser)]
#[command(name = "tests/show/nets", after_help = SCENARIOS)]
struct Options {
    #[command(flatten)]
    show: ShowOptions,
    /// Only this scenario
    #[arg(long, value_name = "NAME", value_parser = scenarios::NAMES)]
    only: Option<String>,
    /// Only this network, in the scenarios `speed` and `losses`
    #[arg(long, value_name = "NAME", value_parser = lab::NETS)]
    net: Option<String>,
    /// The scenario `cuda` as well
    #[arg(long)]
    cuda: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    // A wrong command line ends here, with 2.
    let options = Options::parse();
    let show = match Show::new("show-nets", options.show) {
        Ok(show) => show,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let is_cuda = options.cuda || options.only.as_deref() == Some("cuda");
    let lab = Lab::new(&show, options.net, is_cuda);
    let mut figures = Figures::default();
    let ran = scenarios::run(&lab, &mut figures, options.only.as_deref()).await;
    cellmill_tests::show::scenarios::ended(ran, &figures)
}
