//! A small lab: pictures with known cells, and a mill that turns until nothing moves.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cellmill_core::disposition::Disposition;
use cellmill_core::events::{self, ObjectCreated};
use cellmill_core::formats::{CellsList, CellsListRow};
use cellmill_core::ids::{BatchId, Dir};
use cellmill_core::job::{DataParameters, DataType, JobParameters, JobRecord, JobState};
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey};
use cellmill_core::messages::{ASSEMBLE, COLLECT, POINTS, PREANNOTATE, UPLOADS, UnitClass};
use cellmill_core::points::CsvLimits;
use cellmill_core::timing::Timing;
use cellmill_fn_assemble::Assemble;
use cellmill_fn_collect::Collect;
use cellmill_fn_ingest::Ingest;
use cellmill_fn_janitor::Janitor;
use cellmill_fn_label::Label;
use cellmill_nets::Device;
use cellmill_queue::{MemoryQueue, Outgoing, Queue, QueueName, Settings, hints};
use cellmill_store::accept::Submission;
use cellmill_store::{Put, Store};
use cellmill_vision::{DecodeBudget, Limits, RgbImage, encode_png};
use cellmill_worker::{Options, Parts, WorkerLoop, fresh_id};
use cellmill_worker_gpu::Bench;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

/// Centres of the dark discs of [`picture`].
pub(crate) const CELLS: [(u32, u32); 5] = [(60, 60), (200, 70), (120, 180), (260, 200), (60, 220)];
const RADIUS: i64 = 18;

/// A bright field with five dark discs, shifted a little by `variant`.
pub(crate) fn picture(variant: u32) -> Vec<u8> {
    let mut image = RgbImage::filled(320, 280, [225, 215, 230]);
    for (x, y) in CELLS {
        disc(&mut image, i64::from(x + variant % 7), i64::from(y));
    }
    encode_png(&image)
}

fn disc(image: &mut RgbImage, cx: i64, cy: i64) {
    for y in 0..i64::from(image.height) {
        for x in 0..i64::from(image.width) {
            if (x - cx).pow(2) + (y - cy).pow(2) <= RADIUS.pow(2) {
                let at = (y * i64::from(image.width) + x) as usize * 3;
                image.data[at..at + 3].copy_from_slice(&[110, 60, 130]);
            }
        }
    }
}

/// The doctor's points for a picture: the first four discs, one of them twice.
pub(crate) fn points(variant: u32) -> String {
    let mut csv = "X,Y,Type\n".to_owned();
    for (n, (x, y)) in CELLS.iter().take(4).enumerate() {
        writeln!(csv, "{},{},{}", x + variant % 7 + 2, y + 1, [1, 2, 3, 7][n]).unwrap();
    }
    let repeated = csv.lines().nth(1).expect("a first row").to_owned();
    csv + &repeated + "\n"
}

/// Everything of one process.
pub(crate) struct Mill {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    ingest: Ingest,
    label: Label,
    assemble: Assemble,
    collect: Collect,
    pub(crate) janitor: Janitor,
    bench: Bench,
    rng: StdRng,
    /// Handle every message this often.
    repeats: usize,
}

impl Mill {
    pub(crate) fn new(seed: u64, repeats: usize) -> Self {
        let store = Store::memory();
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(Settings::default()));
        let limits = Limits::default();
        let budget = DecodeBudget::new(DecodeBudget::DEFAULT_BYTES);
        let device = Device::Cpu.open().unwrap();
        Self {
            bench: Bench::new(limits.clone(), budget.clone(), &device, 2).unwrap(),
            janitor: Janitor {
                store: store.clone(),
                queue: Arc::clone(&queue),
                timing: Timing::default(),
                window: 4,
            },
            ingest: Ingest {
                store: store.clone(),
                queue: Arc::clone(&queue),
                limits,
                budget,
            },
            label: Label::new(store.clone(), CsvLimits::default()),
            assemble: Assemble {
                store: store.clone(),
                queue: Arc::clone(&queue),
                window: 4,
                images_per_unit: 2,
                slice: Duration::from_mins(1),
            },
            collect: Collect {
                store: store.clone(),
                queue: Arc::clone(&queue),
                window: 4,
            },
            store,
            queue,
            rng: StdRng::seed_from_u64(seed),
            repeats,
        }
    }

    /// Puts an object and tells its function of it.
    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store
            .put_bytes(key, bytes, Put::Overwrite)
            .await
            .unwrap();
        let queue = if key.starts_with("csv/") {
            POINTS
        } else {
            UPLOADS
        };
        let event = ObjectCreated {
            key: key.to_owned(),
            etag: None,
            size: None,
            version_id: None,
            sequencer: None,
        };
        let message = Outgoing::now(events::print(&event));
        self.queue
            .send(&QueueName::from_static(queue), &[message])
            .await
            .unwrap();
    }

    /// Handles the messages of the functions, shuffled and repeated, until there are none.
    pub(crate) async fn turn(&mut self) {
        let mut idle = 0;
        while idle < 2 {
            let mut queues = [UPLOADS, POINTS, ASSEMBLE, COLLECT, PREANNOTATE];
            queues.shuffle(&mut self.rng);
            let mut handled = 0;
            for queue in queues {
                handled += self.turn_queue(queue).await;
            }
            idle = if handled == 0 { idle + 1 } else { 0 };
        }
    }

    async fn turn_queue(&mut self, name: &'static str) -> usize {
        let queue = QueueName::from_static(name);
        let visibility = Duration::from_mins(1);
        let most = self.rng.random_range(1..10);
        let messages = self
            .queue
            .receive(&queue, most, visibility, Duration::ZERO)
            .await
            .unwrap();
        let mut bodies: Vec<String> = messages.iter().map(|it| it.body.clone()).collect();
        bodies = std::iter::repeat_n(bodies, self.repeats)
            .flatten()
            .collect();
        bodies.shuffle(&mut self.rng);
        for body in &bodies {
            let outcome = match name {
                UPLOADS => self.ingest.handle(body).await,
                POINTS => self.label.handle(body).await,
                ASSEMBLE => self.assemble.handle(body).await,
                PREANNOTATE => self
                    .bench
                    .preannotator(&self.store)
                    .handle(std::slice::from_ref(body))
                    .await
                    .remove(0),
                _ => self
                    .collect
                    .handle(std::slice::from_ref(body))
                    .await
                    .remove(0),
            };
            assert_eq!(outcome, Disposition::Done, "{name}: {body}");
        }
        let receipts: Vec<_> = messages.into_iter().map(|it| it.receipt).collect();
        self.queue.delete(&queue, &receipts).await.unwrap();
        receipts.len()
    }

    /// Accepts a data job as the api does.
    pub(crate) async fn submit(&self, dir: &str, data_type: DataType) -> JobRecord {
        let parameters = DataParameters {
            data_type,
            batches: vec![BatchId::parse("b").unwrap()],
            ..DataParameters::default()
        };
        let dir = Dir::parse(dir).unwrap();
        let parameters = JobParameters::Data(parameters);
        let job = JobRecord::accepted(
            dir,
            1,
            parameters,
            UnitClass::cpu(),
            "local".to_owned(),
            self.store.now(),
        );
        self.store
            .create(&ObjectKey::job(JobKind::Data, &job.dir), job.clone())
            .await
            .unwrap();
        hints::send_assemble(&*self.queue, &job).await.unwrap();
        job
    }

    /// Turns everything, two workers included, until the job has ended.
    pub(crate) async fn finish(&mut self, dir: &Dir) -> JobRecord {
        let job = self.end(JobKind::Data, dir).await;
        assert_eq!(job.state, JobState::Done, "{:?}", job.error);
        job
    }

    /// Hands one message to the pre-annotator.
    pub(crate) async fn preannotate(&self, body: &str) {
        let bodies = [body.to_owned()];
        let outcomes = self.bench.preannotator(&self.store).handle(&bodies).await;
        assert_eq!(outcomes, [Disposition::Done]);
    }

    /// Accepts any job as the api does.
    pub(crate) async fn accept(&self, submission: Submission) -> JobRecord {
        let job = self.store.accept_job(submission).await.unwrap();
        hints::send_assemble(&*self.queue, &job).await.unwrap();
        job
    }

    /// Turns everything, two workers included, until the job has ended, however it does.
    pub(crate) async fn end(&mut self, kind: JobKind, dir: &Dir) -> JobRecord {
        let shutdown = CancellationToken::new();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let parts = Parts {
                    store: self.store.clone(),
                    queue: Arc::clone(&self.queue),
                };
                let options = Options::new(fresh_id("test"));
                let worker = WorkerLoop::new(parts, self.bench.algorithms(), options).unwrap();
                tokio::spawn(worker.run(shutdown.clone()))
            })
            .collect();
        // Long: a machine with much to do is no reason to fail.
        let deadline = tokio::time::Instant::now() + Duration::from_mins(5);
        let job = loop {
            self.turn().await;
            let job = self
                .store
                .read_job(kind, dir)
                .await
                .unwrap()
                .expect("the job")
                .value;
            if job.state.is_ended() {
                break job;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "still {:?}: {:?}",
                job.state,
                job.units
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        shutdown.cancel();
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
        job
    }

    pub(crate) async fn file(&self, dir: &Dir, file: DatasetFile) -> Vec<u8> {
        self.store
            .get_bytes(&ObjectKey::Dataset(dir.clone(), file))
            .await
            .unwrap()
            .to_vec()
    }

    pub(crate) async fn cells(&self, dir: &Dir) -> Vec<CellsListRow> {
        let table = self.file(dir, DatasetFile::CellsList { part: 0 }).await;
        CellsList::new(&table[..])
            .unwrap()
            .map(|it| it.unwrap())
            .collect()
    }
}
