//! What runs on the machines: the real worker loop, the real functions, the real janitor, each started again when its
//! process was killed.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::disposition::Disposition;
use cellmill_core::keys::{ObjectKey, Prefix};
use cellmill_core::messages::{ASSEMBLE, COLLECT};
use cellmill_core::timing::Timing;
use cellmill_fn_assemble::Assemble;
use cellmill_fn_collect::Collect;
use cellmill_fn_janitor::{Action, Janitor, What};
use cellmill_queue::{Queue, QueueName, Received, letters};
use cellmill_store::Store;
use cellmill_worker::{Algorithm, Options, Parts, WorkerLoop};
use futures::TryStreamExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bugs::Bug;
use crate::history;
use crate::machine::Process;
use crate::names::dir;
use crate::plan::{ASSEMBLERS, COLLECTORS, Item, JANITORS};
use crate::post::{Door, PostOffice};
use crate::work::Work;
use crate::world::World;

/// A message that is not ended within this comes again, as the wiring of the programs has it.
const VISIBILITY: Duration = Duration::from_mins(5);
const WAIT: Duration = Duration::from_secs(20);
const BATCH: usize = 10;

/// The two homes, bare.
#[derive(Clone, Debug)]
pub(crate) struct Homes {
    pub(crate) store: Store,
    pub(crate) office: Arc<PostOffice>,
}

impl Homes {
    pub(crate) fn queue(&self, process: &Arc<Process>) -> Arc<dyn Queue> {
        Arc::new(Door {
            process: Arc::clone(process),
            office: Arc::clone(&self.office),
        })
    }
}

/// Keeps a machine running: a process that was killed or has ended is followed by another one.
pub(crate) async fn keep_running(world: Arc<World>, homes: Homes, machine: usize) {
    let mut n_starts = 0;
    loop {
        n_starts += 1;
        let process = Process::boot(&world, machine);
        let shutdown = CancellationToken::new();
        let term = until_term(&world, machine, &shutdown);
        let run = tokio::spawn(run(Arc::clone(&process), homes.clone(), shutdown.clone()));
        let abort = run.abort_handle();
        tokio::select! {
            biased;
            () = until_gone(&process) => {}
            ended = run => {
                let has_panicked = ended.is_err_and(|it| it.is_panic());
                world.ended(machine, has_panicked);
            }
            () = term => {}
        }
        abort.abort();
        if process.is_alive() {
            process.end();
        }
        let pause = world.drawn(&[5, machine as u64, n_starts]).below(30_000);
        sleep(Duration::from_millis(500 + pause)).await;
    }
}

async fn until_gone(process: &Process) {
    loop {
        let changed = process.world.changed.notified();
        if !process.is_alive() {
            return;
        }
        changed.await;
    }
}

/// Cancels `shutdown` when the plan asks this machine to end, and never returns.
async fn until_term(world: &World, machine: usize, shutdown: &CancellationToken) {
    for (n, item) in world.plan.items.iter().enumerate() {
        if let Item::Term { machine: asked, at } = item
            && *asked == machine
            && *at > world.elapsed()
        {
            sleep(at.saturating_sub(world.elapsed())).await;
            if world.take(n) {
                world.tell(Some(machine), || {
                    history::What::Note("is asked to end".to_owned())
                });
                shutdown.cancel();
            }
        }
    }
    std::future::pending::<()>().await;
}

async fn run(process: Arc<Process>, homes: Homes, shutdown: CancellationToken) {
    let store = process.store(&homes.store);
    let queue = homes.queue(&process);
    let window = process.world.plan.window;
    match process.machine {
        it if ASSEMBLERS.contains(&it) => {
            let assemble = Assemble {
                store,
                queue: Arc::clone(&queue),
                window,
                images_per_unit: 1,
                slice: Duration::from_secs(30),
            };
            consume(&process, queue, Function::Assemble(assemble)).await;
        }
        it if COLLECTORS.contains(&it) => {
            let collect = Collect {
                store,
                queue: Arc::clone(&queue),
                window,
            };
            consume(&process, queue, Function::Collect(collect)).await;
        }
        it if JANITORS.contains(&it) => {
            let janitor = Janitor {
                store,
                queue,
                timing: Timing::default(),
                window,
            };
            sweep(&process, &homes.store, &janitor).await;
        }
        _ => work(&process, store, queue, window, shutdown).await,
    }
}

async fn work(
    process: &Arc<Process>,
    store: Store,
    queue: Arc<dyn Queue>,
    window: usize,
    shutdown: CancellationToken,
) {
    let mut options = Options::new(process.worker_id());
    options.window = window;
    let algorithm: Arc<dyn Algorithm> = Arc::new(Work(Arc::clone(&process.world)));
    let worker = WorkerLoop::new(Parts { store, queue }, vec![algorithm], options);
    let Ok(worker) = worker else {
        return;
    };
    // A start that fails is the container's to repeat.
    let _ = worker.run(shutdown).await;
}

/// A function that serves a queue.
enum Function {
    Assemble(Assemble),
    Collect(Collect),
}

impl Function {
    async fn handle(&self, messages: &[Received]) -> Vec<Disposition> {
        match self {
            Self::Assemble(it) => {
                let mut outcomes = Vec::new();
                for message in messages {
                    outcomes.push(it.handle(&message.body).await);
                }
                outcomes
            }
            Self::Collect(it) => {
                let bodies: Vec<String> = messages.iter().map(|it| it.body.clone()).collect();
                it.handle(&bodies).await
            }
        }
    }
}

/// Serves one queue as the programs do.
async fn consume(process: &Process, queue: Arc<dyn Queue>, function: Function) {
    let (name, batch) = match &function {
        Function::Assemble(_) => (ASSEMBLE, 1),
        Function::Collect(_) => (COLLECT, BATCH),
    };
    let name = QueueName::from_static(name);
    loop {
        let Ok(messages) = queue.receive(&name, batch, VISIBILITY, WAIT).await else {
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        if messages.is_empty() {
            continue;
        }
        let outcomes = function.handle(&messages).await;
        for (message, mut outcome) in messages.iter().zip(outcomes) {
            if process.world.is_bug(Bug::MessageDeletedAfterFailure) {
                outcome = Disposition::Done;
            }
            // One that is not ended comes again.
            let _ = letters::finish(&*queue, &name, message, outcome).await;
        }
    }
}

async fn sweep(process: &Process, bare: &Store, janitor: &Janitor) {
    // Two janitors do not start at the same moment.
    sleep(Duration::from_secs(3 + 11 * (process.machine as u64 % 2))).await;
    if let Ok(actions) = janitor.plan_wake().await {
        let _ = janitor.perform(&wanted(process, actions)).await;
    }
    loop {
        if let Ok(swept) = janitor.plan_jobs().await {
            let _ = janitor.perform(&wanted(process, swept.actions)).await;
        }
        misbehave(process, bare, janitor).await;
        sleep(janitor.timing.sweep()).await;
    }
}

/// The actions, or those that a janitor with a planted bug carries out.
fn wanted(process: &Process, mut actions: Vec<Action>) -> Vec<Action> {
    if process.world.is_bug(Bug::QueueIsTheTruth) {
        actions.retain(|it| matches!(it.what, What::RemoveMark { .. }));
    }
    actions
}

/// What a janitor with a planted bug does beside its work.
async fn misbehave(process: &Process, bare: &Store, janitor: &Janitor) {
    let prefix = match process.world.bug {
        Some(Bug::JanitorDeletesOutput) => Prefix::UnitsOfJob(dir(0)).to_path(),
        Some(Bug::MarkRemovedEarly) => Prefix::Active.to_path(),
        _ => return,
    };
    let listed: Vec<_> = bare.list(&prefix).try_collect().await.unwrap_or_default();
    for it in listed {
        let key = ObjectKey::parse(&it.key).ok().flatten();
        let is_it = matches!(
            key,
            Some(ObjectKey::UnitOutput { .. } | ObjectKey::Active { .. })
        );
        if is_it {
            let _ = janitor.store.delete(&it.key).await;
        }
    }
}
