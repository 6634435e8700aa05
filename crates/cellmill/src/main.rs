//! The program `cellmill`: reads the command line, runs one command, ends with its exit code.

use std::process::ExitCode;

use cellmill::cli::{Cli, Console, Exit};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut console = Console::of_process(cli.json);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            console.complain(&error, None);
            return Exit::Failed.into();
        }
    };
    match runtime.block_on(cli.run(&mut console)) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => Exit::Ok.into(),
        Err(error) => {
            console.complain(&error, error.hint().as_deref());
            error.exit().into()
        }
    }
}
