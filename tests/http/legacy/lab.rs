//! A server over a folder, the functions behind it, and a worker that writes its files by hand.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cellmill_api::Settings;
use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::messages::{ASSEMBLE, COLLECT};
use cellmill_core::timing::Timing;
use cellmill_core::unit::UnitRecord;
use cellmill_fn_assemble::Assemble;
use cellmill_fn_collect::Collect;
use cellmill_fn_janitor::Janitor;
use cellmill_queue::{MemoryQueue, Queue as _, QueueName};
use cellmill_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Answer, Server, bmp, image};

pub(super) const DATASET: &str = "DkxD9Kjl";
pub(super) const OK: &str = r#"{"status":0,"data":"ok"}"#;
/// Yolo v4.
pub(super) const CROPPER: u8 = 7;

pub(super) struct Lab {
    pub(super) server: Server,
    pub(super) root: TempDir,
    assemble: Assemble,
    collect: Collect,
    janitor: Janitor,
}

impl Lab {
    /// Two images in batch `b1`, case `c1`, a cropper with number 100, and a data set for it that is ready.
    pub(super) async fn with_dataset() -> Self {
        let lab = Self::start().await;
        for (name, shade) in [("a.bmp", 7), ("b.bmp", 9)] {
            let bytes = bmp(240, 120, shade);
            lab.server.upload(&image(name, &bytes), &bytes).await;
        }
        assert_eq!(lab.register("detector/yolo.weights", CROPPER).await, 100);
        let new = json!({"batches": ["b1"], "dir": DATASET, "description": "a <first> & only", "parameter_mid": 100});
        let answer = lab.server.post("/api/v1/datasets", &new).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        lab.turn().await;
        lab
    }

    pub(super) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open_folder(root.path()).await.unwrap();
        let settings = Settings {
            legacy_workers: true,
            ..Settings::default()
        };
        let server = Server::over(store.clone(), settings).await;
        let queue = Arc::clone(&server.queue);
        Self {
            assemble: Assemble {
                store: store.clone(),
                queue: Arc::<MemoryQueue>::clone(&queue),
                window: 64,
                images_per_unit: 1,
                slice: Duration::from_mins(1),
            },
            collect: Collect {
                store: store.clone(),
                queue: Arc::<MemoryQueue>::clone(&queue),
                window: 64,
            },
            janitor: Janitor {
                store,
                queue,
                timing: Timing::default(),
                window: 64,
            },
            server,
            root,
        }
    }

    /// Puts a model file into the shared folder and registers it.
    pub(super) async fn register(&self, file: &str, mtype: u8) -> u64 {
        self.write(&format!("modules/{file}"), b"weights");
        let new = json!({"mtype": mtype, "file": file, "description": "theirs"});
        let answer = self.server.post("/api/v1/models/legacy", &new).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["mid"].as_u64().unwrap()
    }

    /// Asks for a training or a prediction and lets it become ready.
    pub(super) async fn project(&self, new: &Value) {
        let answer = self.server.post("/api/v1/projects", new).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        self.turn().await;
    }

    /// Handles the messages of assemble and collect until there are none.
    pub(super) async fn turn(&self) {
        while self.turn_queue(ASSEMBLE).await || self.turn_queue(COLLECT).await {}
    }

    async fn turn_queue(&self, queue: &'static str) -> bool {
        let name = QueueName::parse(queue).unwrap();
        let minute = Duration::from_mins(1);
        let queue_of = &self.server.queue;
        let messages = queue_of.receive(&name, 10, minute, Duration::ZERO).await;
        let messages = messages.unwrap();
        for message in &messages {
            if queue == ASSEMBLE {
                self.assemble.handle(&message.body).await;
            } else {
                self.collect
                    .handle(std::slice::from_ref(&message.body))
                    .await;
            }
            let receipt = std::slice::from_ref(&message.receipt);
            queue_of.delete(&name, receipt).await.unwrap();
        }
        !messages.is_empty()
    }

    /// One sweep of the janitor; says what it did.
    pub(super) async fn sweep(&self) -> Vec<Value> {
        let plan = self.janitor.plan_jobs().await.unwrap();
        self.janitor.perform(&plan.actions).await.unwrap();
        self.turn().await;
        plan.actions.iter().map(|it| json!(it)).collect()
    }

    /// Sends text as a worker does.
    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        let request = self.server.request("POST", path).body(body.to_owned());
        self.server.send(request).await
    }

    /// As [`post`](Self::post), from another address of this machine; the answer's text.
    pub(super) async fn post_from(&self, address: &str, path: &str, body: &str) -> String {
        let address: IpAddr = address.parse().unwrap();
        let client = reqwest::Client::builder().local_address(address);
        let url = format!("{}{path}", self.server.base);
        let sent = client.build().unwrap().post(url).body(body.to_owned());
        sent.send().await.unwrap().text().await.unwrap()
    }

    /// Takes a job and gives the row.
    pub(super) async fn take(&self, worker_type: u8, mtype: u8) -> Value {
        let body = format!(r#"{{"id":0,"status":1,"type":{worker_type},"mtype":{mtype}}}"#);
        let answer = self.post("/api1/job", &body).await;
        answer.json()["data"].clone()
    }

    /// Reports on job 1 of a type; the answer's text.
    pub(super) async fn report(
        &self,
        worker_type: u8,
        status: u8,
        percent: i64,
        eta: i64,
    ) -> String {
        let body = format!(
            r#"{{"id":1,"status":{status},"percent":{percent},"ETA":{eta},"type":{worker_type}}}"#
        );
        text(&self.post("/api1/jobresult", &body).await)
    }

    pub(super) async fn job(&self, kind: JobKind, dir: &str) -> JobRecord {
        let key = ObjectKey::job(kind, &Dir::parse(dir).unwrap());
        self.server.store.read(&key).await.unwrap().unwrap().value
    }

    pub(super) async fn state(&self, kind: JobKind, dir: &str) -> JobState {
        self.job(kind, dir).await.state
    }

    pub(super) async fn unit(&self, kind: JobKind, dir: &str) -> UnitRecord {
        let key = ObjectKey::Unit(unit_key(kind, dir));
        self.server.store.read(&key).await.unwrap().unwrap().value
    }

    /// Lets the unit's last sign of life be this many seconds ago.
    pub(super) fn age_unit(&self, kind: JobKind, dir: &str, seconds: u64) {
        let path = self.path(&ObjectKey::Unit(unit_key(kind, dir)).to_path());
        let file = File::options().write(true).open(path).unwrap();
        let then = SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(key)
    }

    pub(super) fn write(&self, key: &str, bytes: &[u8]) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn read_json(&self, key: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(key)).unwrap()).unwrap()
    }

    /// What a crop worker leaves: three cells, absolute paths, number and name of the image swapped.
    pub(super) fn leave_cells(&self) {
        let root = self.root.path().display();
        let mut table = "\"batchid\",\"medicalid\",\"imgid\",\"imgname\",\"imgpath\",\"p1n0\",\"parameter_gray\",\
            \"parameter_size\",\"parameter_type\",\"parameter_mid\",\"parameter_cache\",\"cellpath\",\"x1\",\"y1\",\
            \"x2\",\"y2\",\"celltype\",\"kx1\",\"ky1\",\"kx2\",\"ky2\"\n"
            .to_owned();
        for (image, x1, class) in [("a.bmp", 0, 7), ("a.bmp", 100, 1), ("b.bmp", 20, 7)] {
            let x2 = x1 + 100;
            let cell = format!(
                "scratch/b1/c1/cells/b1.c1.5.{image}_1_100_1_100_{x1}_0_{x2}_100_{class}_{x1}_0_{x2}_100.png"
            );
            self.write(&cell, cell.as_bytes());
            writeln!(
                table,
                "\"b1\",\"c1\",\"{image}\",\"5\",\"{root}/img/b1/c1/Images/{image}\",\"0\",\"1\",\"100\",\"1\",\
                 \"100\",\"1\",\"{root}/{cell}\",\"{x1}\",\"0\",\"{x2}\",\"100\",\"{class}\",\"{x1}\",\"0\",\"{x2}\",\"100\""
            )
            .unwrap();
        }
        self.write(
            &format!("datasets/{DATASET}/cellslist.csv"),
            table.as_bytes(),
        );
        let mut info = self.read_json(&format!("datasets/{DATASET}/info.json"));
        info["labelcnt"] = json!(3);
        info["types"] = json!([{"celltype": 1, "labelcnt": 1}, {"celltype": 7, "labelcnt": 2}]);
        info["cells_rois"] = json!("a key of an older worker");
        self.write(
            &format!("datasets/{DATASET}/info2.json"),
            &serde_json::to_vec_pretty(&info).unwrap(),
        );
        self.write(
            &format!("datasets/{DATASET}/log.txt"),
            "切割 done\n".as_bytes(),
        );
    }

    /// A data set that a worker cut, done.
    pub(super) async fn cut() -> Self {
        let lab = Self::with_dataset().await;
        assert_eq!(lab.take(1, CROPPER).await["id"], 1);
        lab.leave_cells();
        assert_eq!(lab.report(1, 4, 100, 0).await, OK);
        lab.turn().await;
        let job = lab.job(JobKind::Data, DATASET).await;
        assert_eq!(job.state, JobState::Done, "{:?}", job.error);
        lab
    }
}

pub(super) fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8(answer.bytes.clone()).unwrap()
}

fn unit_key(kind: JobKind, dir: &str) -> UnitKey {
    UnitKey {
        dir: Dir::parse(dir).unwrap(),
        kind,
        unit: 0,
    }
}
