//! `show-cells`: drives the real programs over real photographs and says in figures what came of it.
//!
//! It knows the programs only from outside: the command line, HTTP, the file tree. What it expects it computes from
//! the data by readers of its own, so it works on any data of the same shape. Run it by `tests/show/cells`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures on stdout and progress on stderr are what this program is for"
)]

mod data;
mod figure;
mod files;
mod finder_score;
mod http;
mod process;
mod scenarios;
mod show;
mod table;
mod tree;

use std::process::ExitCode;

use clap::Parser;

use crate::figure::Figures;
use crate::show::{Options, Show};

#[tokio::main]
async fn main() -> ExitCode {
    // A wrong command line ends here, with 2.
    let options = Options::parse();
    let show = match Show::new(options) {
        Ok(show) => show,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let mut figures = Figures::default();
    match scenarios::run(&show, &mut figures).await {
        Ok(()) if figures.n_short() == 0 => ExitCode::SUCCESS,
        Ok(()) => {
            eprintln!("{} figures fall short", figures.n_short());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the show could not go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}
