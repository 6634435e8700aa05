//! The program `worker-gpu`.

use std::process::ExitCode;
use std::time::Duration;

use cellmill_service::{Settings, Shutdown};
use cellmill_worker_gpu::{Options, run};
use clap::Parser as _;

fn main() -> ExitCode {
    match work(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", cellmill_service::report(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn work(options: Options) -> anyhow::Result<()> {
    let settings = Settings::from_env();
    cellmill_service::init_log(
        &settings
            .as_ref()
            .map_or_else(|_| Settings::default().log, |it| it.log.clone()),
    );
    let settings = settings?;
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        Ok(run(options, settings, shutdown.token()).await?)
    });
    // A thread that still computes for a unit that was handed back must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
