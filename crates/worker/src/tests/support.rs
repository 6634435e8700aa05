//! A job in memory, algorithms that do one thing, and waiting with a deadline.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cellmill_core::document::Stamp;
use cellmill_core::ids::Dir;
use cellmill_core::job::{DataParameters, JobEvent, JobParameters, JobRecord};
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::messages::{COLLECT, CollectHint, UnitClass};
use cellmill_core::records::ActiveMark;
use cellmill_core::timing::Timing;
use cellmill_core::unit::{Claim, UnitRecord, decide_claim};
use cellmill_queue::{MemoryQueue, Queue, QueueName, Settings, hints};
use cellmill_service::metrics::{Page, Source};
use cellmill_store::{Decision, Store, Versioned};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Algorithm, Context, Error, Failure, Options, Outcome, Parts, Unit, WorkerLoop};

pub(super) const WINDOW: usize = 64;

/// One job whose units wait, and what happened to it.
pub(super) struct Bench {
    /// Without faults, whatever the worker sees.
    pub(super) store: Store,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) dir: Dir,
    kind: JobKind,
}

impl Bench {
    pub(super) async fn new(units: u32) -> Self {
        Self::of_kind(JobKind::Data, units).await
    }

    pub(super) async fn training() -> Self {
        Self::of_kind(JobKind::Train, 1).await
    }

    async fn of_kind(kind: JobKind, units: u32) -> Self {
        let store = Store::memory();
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(Settings::default()));
        let dir = Dir::parse("DkxD9Kjl").unwrap();
        let bench = Self {
            store,
            queue,
            dir: dir.clone(),
            kind,
        };
        bench.accept(&dir, kind).await;
        bench.change_job(assembled(units)).await;
        bench
    }

    async fn accept(&self, dir: &Dir, kind: JobKind) {
        let (dir, at) = (dir.clone(), self.store.now());
        let round = 0;
        let mark = ObjectKey::Active {
            kind,
            dir: dir.clone(),
            round,
        };
        let stamp = Stamp::default();
        self.store
            .create(&mark, ActiveMark { stamp, at })
            .await
            .unwrap();
        let parameters = JobParameters::Data(DataParameters::default());
        let (class, by) = (UnitClass::cpu(), "local".to_owned());
        let mut job = JobRecord::accepted(dir.clone(), 1, parameters, class, by, at);
        // What the units compute is the test's own: the kind alone says how they are treated.
        job.kind = kind;
        let key = ObjectKey::job(kind, &dir);
        self.store.create(&key, job).await.unwrap();
    }

    /// A second job, of one urgent unit, whose hint is out.
    pub(super) async fn urgent(&self, kind: JobKind) -> UnitKey {
        let dir = Dir::parse("urgent00").unwrap();
        self.accept(&dir, kind).await;
        let by = "local".to_owned();
        for event in [JobEvent::Raised { by }, assembled(1)] {
            let changed = self.store.change_job(kind, &dir, event, WINDOW).await;
            changed.unwrap();
        }
        let job = self.store.read_job(kind, &dir).await.unwrap().unwrap();
        hints::send_units(self.queue.as_ref(), &job.value, &[0])
            .await
            .unwrap();
        UnitKey { dir, kind, unit: 0 }
    }

    pub(super) async fn change_job(&self, event: JobEvent) {
        self.store
            .change_job(self.kind, &self.dir, event, WINDOW)
            .await
            .unwrap();
    }

    pub(super) async fn job(&self) -> JobRecord {
        self.store
            .read_job(self.kind, &self.dir)
            .await
            .unwrap()
            .unwrap()
            .value
    }

    pub(super) async fn hint(&self, units: &[u32]) {
        hints::send_units(self.queue.as_ref(), &self.job().await, units)
            .await
            .unwrap();
    }

    pub(super) fn key(&self, unit: u32) -> UnitKey {
        UnitKey {
            dir: self.dir.clone(),
            kind: self.kind,
            unit,
        }
    }

    pub(super) async fn unit(&self, unit: u32) -> Option<UnitRecord> {
        let read = self
            .store
            .read(&ObjectKey::Unit(self.key(unit)))
            .await
            .unwrap();
        read.map(|it: Versioned<UnitRecord>| it.value)
    }

    /// Waits until the unit is as `wanted`.
    pub(super) async fn until(
        &self,
        unit: u32,
        wanted: impl Fn(&UnitRecord) -> bool,
    ) -> UnitRecord {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let seen = self.unit(unit).await;
            match seen {
                Some(seen) if wanted(&seen) => return seen,
                seen => assert!(Instant::now() < deadline, "unit {unit} is {seen:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A worker claims the unit and is killed.
    pub(super) async fn claim_and_die(&self, unit: u32) {
        let (key, now) = (self.key(unit), self.store.now());
        let claim = decide_claim(
            &self.job().await,
            None,
            &key,
            &crate::fresh_id("dead"),
            now,
            short(),
        );
        let Claim::Take(record) = claim else {
            panic!("{claim:?}")
        };
        assert!(
            self.store
                .create(&ObjectKey::Unit(key), record)
                .await
                .unwrap()
                .is_ours()
        );
    }

    /// Somebody else takes the unit over.
    pub(super) async fn steal(&self, unit: u32) {
        steal(&self.store, &self.key(unit)).await;
    }

    /// The units of which "ended" was said, in the order said, duplicates too.
    pub(super) async fn said_ended(&self) -> Vec<u32> {
        let queue = QueueName::from_static(COLLECT);
        let (hidden, wait) = (Duration::from_mins(1), Duration::ZERO);
        let messages = self.queue.receive(&queue, 100, hidden, wait).await.unwrap();
        let hint = |body: &str| serde_json::from_str::<CollectHint>(body).unwrap();
        messages
            .iter()
            .filter_map(|it| hint(&it.body).unit)
            .collect()
    }

    /// Unit hints that wait or are hidden.
    pub(super) async fn hints_out(&self) -> u64 {
        let depth = self
            .queue
            .depth(&QueueName::from_static("units-cpu"))
            .await
            .unwrap();
        depth.visible + depth.in_flight + depth.delayed
    }

    pub(super) fn start(&self, algorithm: &Arc<Fake>, change: impl FnOnce(&mut Options)) -> Worker {
        Worker::start(
            self.store.clone(),
            Arc::clone(&self.queue),
            algorithm,
            change,
        )
    }
}

pub(super) async fn steal(store: &Store, unit: &UnitKey) {
    let key = ObjectKey::Unit(unit.clone());
    let swap = store.swap::<UnitRecord>(&key, |stored| {
        let mut next = stored.unwrap().clone();
        next.attempt += 1;
        next.owner = Some(crate::fresh_id("thief"));
        Decision::Write(next)
    });
    assert!(swap.await.unwrap().changed);
}

fn assembled(units: u32) -> JobEvent {
    JobEvent::Assembled {
        units,
        snapshot: "s".to_owned(),
    }
}

/// Lease 1 s, heartbeat 300 ms, self-stop 800 ms, idle sweep 400 ms: short for a test, long for a busy machine.
pub(super) fn short() -> Timing {
    Timing::of_lease(Duration::from_secs(1))
}

/// A worker that runs in the background.
pub(super) struct Worker {
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), Error>>,
    pub(super) metrics: Source,
}

impl Worker {
    pub(super) fn start(
        store: Store,
        queue: Arc<dyn Queue>,
        algorithm: &Arc<Fake>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = Options {
            timing: short(),
            ..Options::new(crate::fresh_id("test"))
        };
        change(&mut options);
        let algorithm: Arc<dyn Algorithm> = Arc::<Fake>::clone(algorithm);
        let worker = WorkerLoop::new(Parts { store, queue }, vec![algorithm], options).unwrap();
        let shutdown = CancellationToken::new();
        let metrics = worker.metrics();
        let ended = tokio::spawn(worker.run(shutdown.clone()));
        Self {
            shutdown,
            ended,
            metrics,
        }
    }

    /// What it tells to a collector.
    pub(super) fn figures(metrics: &Source) -> String {
        let mut page = Page::default();
        metrics(&mut page);
        page.to_text()
    }

    pub(super) async fn end(self) {
        self.shutdown.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// What an algorithm does with a unit.
#[derive(Debug)]
pub(super) enum Deed {
    Succeed,
    /// Reports, then awaits for so long.
    Take(Duration),
    /// Computes for so long without an await.
    Compute(Duration),
    UntilStopped,
    Fail,
    FailForGood,
    PanicOnUnit(u32),
    /// Cancels its own job, then succeeds.
    CancelThenSucceed,
    /// Loses its unit to somebody else, then succeeds.
    LoseThenSucceed,
    /// Stops though nobody asked.
    StopUnasked,
    /// Units of data succeed; others take so many steps of 50 ms and leave a checkpoint where one is due.
    Learn(u32),
}

/// An algorithm with one deed that counts.
#[derive(Debug)]
pub(super) struct Fake {
    deed: Deed,
    pub(super) started: AtomicUsize,
    pub(super) stopped: AtomicUsize,
}

impl Fake {
    pub(super) fn new(deed: Deed) -> Arc<Self> {
        Arc::new(Self {
            deed,
            started: AtomicUsize::new(0),
            stopped: AtomicUsize::new(0),
        })
    }

    pub(super) fn n_started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(super) async fn until_stopped(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.stopped.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < deadline, "never stopped");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Counts the end of an algorithm that does not end by itself, even when its future is dropped.
struct CountStop<'a>(&'a AtomicUsize);

impl Drop for CountStop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Algorithm for Fake {
    fn kinds(&self) -> &[JobKind] {
        &[JobKind::Data, JobKind::Train]
    }

    fn needs_device(&self) -> bool {
        matches!(self.deed, Deed::Learn(_))
    }

    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
        self.started.fetch_add(1, Ordering::SeqCst);
        match &self.deed {
            Deed::Succeed => {}
            Deed::Take(time) => {
                context.report(40.0, "taking its time");
                tokio::time::sleep(*time).await;
            }
            Deed::Compute(time) => std::thread::sleep(*time),
            Deed::UntilStopped => {
                let _count = CountStop(&self.stopped);
                while !context.should_stop() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return Err(Failure::Stopped);
            }
            Deed::Fail => {
                return Err(Failure::temporary(
                    "could not reach the moon",
                    std::fmt::Error,
                ));
            }
            Deed::FailForGood => return Err(Failure::permanent("no such model", std::fmt::Error)),
            Deed::PanicOnUnit(bad) => assert_ne!(unit.key.unit, *bad, "a poisoned unit"),
            Deed::CancelThenSucceed => {
                let cancel = JobEvent::Cancelled {
                    by: "local".to_owned(),
                };
                let dir = &unit.key.dir;
                context
                    .store()
                    .change_job(JobKind::Data, dir, cancel, WINDOW)
                    .await
                    .unwrap();
            }
            Deed::LoseThenSucceed => steal(context.store(), &unit.key).await,
            Deed::StopUnasked => return Err(Failure::Stopped),
            Deed::Learn(_) if unit.key.kind == JobKind::Data => {}
            Deed::Learn(steps) => learn(*steps, context).await?,
        }
        context.rejected("img/a/b/Images/bad.jpg", "conflict", "other bytes");
        let rows = context.write_output("rows", "rows.csv", "a,b\n").await?;
        Ok(Outcome {
            outputs: vec![rows],
        })
    }
}

async fn learn(steps: u32, context: &mut Context) -> Result<(), Failure> {
    let mut done = 0;
    if let Some((checkpoint, bytes)) = context.newest_checkpoint().await? {
        done = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
        context.resumed_from(&checkpoint);
    }
    while done < steps {
        if context.should_finish() {
            return if done > 0 {
                Ok(())
            } else {
                Err(Failure::NothingToKeep)
            };
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let is_back = context.is_handed_back();
        if !is_back {
            context.check_stop()?;
            done += 1;
            context.report(100.0 * f64::from(done) / f64::from(steps), "learns");
        }
        if is_back || context.is_checkpoint_due() {
            context
                .write_checkpoint("steps", done.to_string(), done == 1)
                .await?;
        }
        context.check_stop()?;
    }
    Ok(())
}

/// All of `seen` are the same as `wanted`, in any order.
pub(super) fn assert_same<T: Ord + Debug>(mut seen: Vec<T>, mut wanted: Vec<T>) {
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
}
