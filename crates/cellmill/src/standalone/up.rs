//! `cellmill up`: one process that is the whole system.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cellmill_api::{ApiParts, LocalUser, QueueNotify, router, serve};
use cellmill_core::messages::PREANNOTATE;
use cellmill_fn_ingest::image_limits;
use cellmill_fn_janitor::retention::Retention;
use cellmill_nets::{Device, DeviceError};
use cellmill_queue::{Queue, QueueName};
use cellmill_service::settings::SettingsError;
use cellmill_service::{Settings, Shutdown};
use cellmill_store::Store;
use cellmill_store::uploads::{ApiUploads, Signer, StagedParts};
use cellmill_vision::DecodeBudget;
use cellmill_worker::{Meter, Parts, WorkerLoop, fresh_id};
use cellmill_worker_gpu::Bench;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::functions::Functions;
use super::{consume, found, janitor};

/// What the command line chooses; the rest are settings.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The folder of everything; made when it is not there.
    pub root: PathBuf,
    /// Where the api answers. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Workers, each with as many units at once as there are threads; `None` leaves it to the settings.
    /// 0: none in this process, `worker-gpu` beside it does the work.
    pub workers: Option<usize>,
}

/// Why the process can't start.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    #[error("settings can't be used")]
    Settings(#[source] SettingsError),
    #[error("signals can't be received")]
    Signals(#[source] std::io::Error),
    #[error("root folder can't be opened")]
    Store(#[source] cellmill_store::Error),
    #[error("queue of the root can't be opened")]
    Queue(#[source] cellmill_queue::Error),
    #[error("copied files can't be watched for")]
    Watch(#[source] cellmill_store::watch::WatchError),
    #[error(
        "address `{address}` can't be listened on\nhint: another program may listen there, choose one with --listen"
    )]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("device can't be used")]
    Device(#[source] DeviceError),
    #[error("worker can't start")]
    Bench(#[source] cellmill_worker_gpu::Error),
    #[error("worker can't start")]
    Worker(#[source] cellmill_worker::Error),
    #[error("server ended")]
    Serve(#[source] std::io::Error),
}

/// What open work gets to end after a signal.
const GRACE: Duration = Duration::from_secs(30);

/// Everything of one process, at work.
#[derive(Debug)]
pub struct Running {
    /// Where the api answers.
    pub address: SocketAddr,
    /// The folder of everything.
    pub root: PathBuf,
    shutdown: Shutdown,
    server: JoinHandle<std::io::Result<()>>,
}

/// Runs everything until a signal ends it.
pub async fn up(options: UpOptions) -> Result<(), UpError> {
    let shutdown = Shutdown::on_signals().map_err(UpError::Signals)?;
    let running = start(options, shutdown).await?;
    announce(running.address, &running.root);
    running.ended().await
}

/// Starts everything. It stops when `shutdown` is tripped.
pub async fn start(options: UpOptions, shutdown: Shutdown) -> Result<Running, UpError> {
    let settings = Settings::from_env().map_err(UpError::Settings)?;
    std::fs::create_dir_all(&options.root)
        .map_err(|it| UpError::Store(unmade(&options.root, it)))?;
    let store = Store::open_folder(&options.root)
        .await
        .map_err(UpError::Store)?;
    if settings.legacy_workers {
        make_legacy_folders(&options.root).map_err(UpError::Store)?;
    }
    let queue = open_queue(&store).map_err(UpError::Queue)?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| UpError::Listen {
            address: options.listen,
            source,
        })?;
    let address = listener.local_addr().map_err(UpError::Serve)?;

    let budget = DecodeBudget::new(settings.images.decode_budget_bytes);
    let functions = Functions::new(&store, &queue, &settings, &budget);
    functions.serve(&shutdown);
    found::watch(&store, &queue, &shutdown).map_err(UpError::Watch)?;
    janitor::sweep(&functions.janitor, &shutdown);
    work(
        &store,
        &queue,
        &settings,
        options.workers.unwrap_or(settings.workers),
        &budget,
        &shutdown,
    )?;

    let api = api_parts(&store, &queue, &settings).await?;
    janitor::retain(
        Retention::new(store.clone(), Arc::clone(&api.multipart), &settings),
        &shutdown,
    );
    let root = store.root().unwrap_or(&options.root).to_owned();
    let until = shutdown.clone();
    let server = tokio::spawn(async move {
        let tripped = async move { until.tripped().await };
        serve(listener, router(api), tripped).await
    });
    Ok(Running {
        address,
        root,
        shutdown,
        server,
    })
}

impl Running {
    /// Tells everything to stop and waits for the end.
    pub async fn stop(self) -> Result<(), UpError> {
        self.shutdown.trip();
        self.ended().await
    }

    /// Waits until a signal, or whoever holds the shutdown, ends everything.
    pub async fn ended(self) -> Result<(), UpError> {
        let served = self.server.await;
        served
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(UpError::Serve)?;
        if let Err(error) = self.shutdown.drained(GRACE).await {
            tracing::warn!(
                error = cellmill_service::report(&error),
                "ended with work open; it goes on at the next start"
            );
        }
        Ok(())
    }
}

/// The predecessor's workers refuse to start without these two.
fn make_legacy_folders(root: &Path) -> Result<(), cellmill_store::Error> {
    for folder in ["csv", "img"] {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).map_err(|it| unmade(&folder, it))?;
    }
    Ok(())
}

fn unmade(root: &Path, source: std::io::Error) -> cellmill_store::Error {
    cellmill_store::Error::Open {
        url: root.display().to_string(),
        source: source.into(),
    }
}

/// The queue file of a root.
pub(crate) fn open_queue(store: &Store) -> Result<Arc<dyn Queue>, cellmill_queue::Error> {
    let root = store.root().unwrap_or(Path::new("."));
    let file = root.join(".cellmill").join("queue.sqlite");
    cellmill_queue::open(
        &format!("sqlite://{}", file.display()),
        cellmill_queue::Settings::default(),
    )
}

fn work(
    store: &Store,
    queue: &Arc<dyn Queue>,
    settings: &Settings,
    workers: usize,
    budget: &DecodeBudget,
    shutdown: &Shutdown,
) -> Result<(), UpError> {
    if workers == 0 {
        return Ok(());
    }
    let device = Device::Cpu.open().map_err(UpError::Device)?;
    let bench = Bench::new(
        image_limits(settings),
        budget.clone(),
        &device,
        settings.threads,
    )
    .map_err(UpError::Bench)?;
    let options = cellmill_worker::Options {
        timing: settings.timing,
        window: settings.window,
        // A data unit decodes, finds and cuts on one thread.
        concurrency: workers * settings.threads.max(1),
        // The root is what fills up.
        meter: Some(Arc::new(Meter::new(
            store.root().map_or_else(std::env::temp_dir, Into::into),
        ))),
        ..cellmill_worker::Options::new(fresh_id("up"))
    };
    let parts = Parts {
        store: store.clone(),
        queue: Arc::clone(queue),
    };
    let worker = WorkerLoop::new(parts, bench.algorithms(), options).map_err(UpError::Worker)?;
    let token = shutdown.token();
    shutdown.spawn(async move {
        if let Err(error) = worker.run(token).await {
            tracing::error!(error = cellmill_service::report(&error), "worker ended");
        }
    });
    let preannotator = Arc::new(bench.preannotator(store));
    shutdown.spawn(consume::batches(
        Arc::clone(queue),
        QueueName::from_static(PREANNOTATE),
        shutdown.token(),
        move |bodies: Vec<String>| {
            let preannotator = Arc::clone(&preannotator);
            async move { preannotator.handle(&bodies).await }
        },
    ));
    Ok(())
}

async fn api_parts(
    store: &Store,
    queue: &Arc<dyn Queue>,
    settings: &Settings,
) -> Result<ApiParts, UpError> {
    let signer = Signer::of_home(store).await.map_err(UpError::Store)?;
    Ok(ApiParts {
        store: store.clone(),
        queue: Arc::clone(queue),
        signer: Arc::new(ApiUploads {
            signer: signer.clone(),
            endpoint: "/uploads".to_owned(),
        }),
        multipart: Arc::new(StagedParts {
            store: store.clone(),
            signer: signer.clone(),
            endpoint: "/uploads/parts".to_owned(),
        }),
        downloads: None,
        receiver: Some(signer),
        notify: Arc::new(QueueNotify(Arc::clone(queue))),
        identity: Arc::new(LocalUser),
        settings: cellmill_api::Settings {
            max_image_bytes: settings.images.max_bytes,
            max_points_bytes: settings.csv.max_bytes,
            upload_ttl: settings.upload_ttl,
            window: settings.window,
            timing: settings.timing,
            time_zone: settings.time_zone,
            legacy_workers: settings.legacy_workers,
            ..cellmill_api::Settings::default()
        },
    })
}

/// One line for people, and for programs that asked for a free port.
fn announce(address: SocketAddr, root: &Path) {
    let line = format!(
        "cellmill is up at http://{address}, root {}\n",
        root.display()
    );
    // Nobody reads our standard output: no reason to end.
    let _ = std::io::stdout().write_all(line.as_bytes());
    let _ = std::io::stdout().flush();
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "listening beyond this machine, and there is no sign-in yet");
    }
}
