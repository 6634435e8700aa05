//! The start: settings, logs, homes.

use std::process::ExitCode;
use std::sync::Arc;

use cellmill_queue::Queue;
use cellmill_service::settings::env;
use cellmill_service::{Settings, init_log, report};
use cellmill_store::Store;

use crate::Error;

/// What a function works with.
#[derive(Clone, Debug)]
pub struct Home {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    pub settings: Settings,
}

/// Runs a function: reads the settings, opens the homes, serves until the process is ended from outside.
///
/// Whatever is wrong at the start is told at once and whole, and the process ends with a failure, which is what
/// Lambda shows as an error of its initialisation.
pub fn run<F, R>(serve: F) -> ExitCode
where
    F: FnOnce(Home) -> R,
    R: Future<Output = Result<(), Error>>,
{
    let settings = Settings::from_env_requiring(&[&env::STORE, &env::QUEUE]);
    init_log(
        &settings
            .as_ref()
            .map_or_else(|_| Settings::default().log, |it| it.log.clone()),
    );
    match start(settings.map_err(Error::from), serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", report(&*error));
            ExitCode::FAILURE
        }
    }
}

fn start<F, R>(settings: Result<Settings, Error>, serve: F) -> Result<(), Error>
where
    F: FnOnce(Home) -> R,
    R: Future<Output = Result<(), Error>>,
{
    let settings = settings?;
    // One thread waits for storage; what computes has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let url = settings.store.as_deref().unwrap_or_default();
        let store = Store::open(url).await?;
        let url = settings.queue.as_deref().unwrap_or_default();
        let queue = cellmill_queue::open(url, cellmill_queue::Settings::default())?;
        let home = Home {
            store,
            queue,
            settings,
        };
        serve(home).await
    })
}
