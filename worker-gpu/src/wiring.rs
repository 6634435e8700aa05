//! From options and settings to a running worker.

use std::sync::Arc;
use std::time::Duration;

use cellmill_nets::DeviceError;
use cellmill_queue::Queue;
use cellmill_service::Settings;
use cellmill_service::health::{HealthError, tell_health};
use cellmill_store::Store;
use cellmill_vision::{DecodeBudget, Limits};
use cellmill_worker::{Algorithm, Meter, Parts, WorkerLoop, fresh_id};
use tokio_util::sync::CancellationToken;

use crate::exec::{ExecAlgorithm, ExecOptions};
use crate::protection::protect;
use crate::{Bench, Options};

/// Why the worker can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device is not there.
    #[error("worker can't start")]
    Device(#[source] DeviceError),
    /// The threads of networks can't be started.
    #[error("worker can't start its threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// Nobody said where everything is kept.
    #[error(
        "no storage was named\nhint: give `--store file:///absolute/root` or `--store s3://bucket`, or set `CELLMILL_STORE`"
    )]
    NoStore,
    /// The storage can't be opened.
    #[error("worker can't start")]
    Store(#[source] cellmill_store::Error),
    /// The storage has no folder in which the queue file would be.
    #[error(
        "storage `{store}` has no queue file of its own\nhint: give `--queue sqs://prefix` (the name of the stack) or `--queue sqlite:///folder/file`"
    )]
    NoQueue {
        /// The URL of the storage.
        store: String,
    },
    /// The queue can't be opened.
    #[error("worker can't start")]
    Queue(#[source] cellmill_queue::Error),
    /// The health can't be told.
    #[error("worker can't start")]
    Health(#[source] HealthError),
    /// The worker does not start.
    #[error("worker can't start")]
    Worker(#[source] cellmill_worker::Error),
}

/// What the image that is being labelled gets at shutdown.
const LABELLING_GRACE: Duration = Duration::from_secs(2);

/// Works until `shutdown` is cancelled. What the options leave open is taken from the settings.
pub async fn run(
    options: Options,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    // Before anything else: a worker on the wrong device must not take a single unit.
    let device = options.device.open();
    let device = device.and_then(|it| it.with_precision(options.precision));
    let device = device.map_err(Error::Device)?;
    let preannotates = options.preannotates();
    let url = options.store.or(settings.store).ok_or(Error::NoStore)?;
    let store = Store::open(&url).await.map_err(Error::Store)?;
    let queue = open_queue(&store, &url, options.queue.or(settings.queue))?;
    let limits = Limits {
        max_bytes: settings.images.max_bytes,
        max_side: settings.images.max_side,
        max_decoded_bytes: settings.images.max_decoded_bytes,
        ..Limits::default()
    };
    let concurrency = options.threads.map_or(settings.threads, usize::from);
    let budget = DecodeBudget::new(settings.images.decode_budget_bytes);
    let bench = Bench::new(limits, budget, &device, concurrency)?;
    let algorithms: Vec<Arc<dyn Algorithm>> = match options.exec {
        None => bench.algorithms(),
        Some(command) => vec![Arc::new(ExecAlgorithm::new(
            bench.clone(),
            ExecOptions {
                command,
                kinds: options.kinds.clone(),
                silence: Duration::from_secs(options.exec_silence_s),
                grace: Duration::from_secs(options.exec_grace_s),
            },
        ))],
    };
    let id = fresh_id(&format!("worker-{}", std::process::id()));
    let loop_options = cellmill_worker::Options {
        classes: options.classes,
        kinds: options.kinds,
        device: device.device().to_string(),
        timing: settings.timing,
        window: settings.window,
        concurrency,
        meter: Some(Arc::new(Meter::new(std::env::temp_dir()))),
        ..cellmill_worker::Options::new(id)
    };
    let labelling = preannotates.then(|| {
        let (preannotator, queue) = (bench.preannotator(&store), Arc::clone(&queue));
        let shutdown = shutdown.clone();
        tokio::spawn(async move { preannotator.serve(queue, shutdown).await })
    });
    let worker =
        WorkerLoop::new(Parts { store, queue }, algorithms, loop_options).map_err(Error::Worker)?;
    if let Some(address) = settings.health {
        // Several beats may fail before anybody should worry, and an idle worker asks its queues more often.
        let limit = settings.timing.lease() * 4;
        let told = tell_health(
            address,
            worker.pulse(),
            limit,
            worker.metrics(),
            shutdown.clone(),
        );
        told.await.map_err(Error::Health)?;
    }
    let protection = tokio::spawn(protect(worker.held(), shutdown.clone()));
    let ended = worker.run(shutdown).await.map_err(Error::Worker);
    if let Some(labelling) = labelling {
        // Its last image is written or given back; what is in the middle of it comes again by itself.
        let _ = tokio::time::timeout(LABELLING_GRACE, labelling).await;
    }
    // It ends with the shutdown; ECS waits for it no longer than for us.
    let _ = tokio::time::timeout(LABELLING_GRACE, protection).await;
    ended
}

fn open_queue(store: &Store, url: &str, named: Option<String>) -> Result<Arc<dyn Queue>, Error> {
    let beside_the_store = || {
        let file = store.root()?.join(".cellmill").join("queue.sqlite");
        Some(format!("sqlite://{}", file.display()))
    };
    let no_queue = || Error::NoQueue {
        store: url.to_owned(),
    };
    let queue = named.or_else(beside_the_store).ok_or_else(no_queue)?;
    cellmill_queue::open(&queue, cellmill_queue::Settings::default()).map_err(Error::Queue)
}
