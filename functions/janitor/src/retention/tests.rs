//! The sweep over a folder root, with time moved: what lies there is written now, and `now` is said to be later.

use std::collections::BTreeSet;

use cellmill_core::document::Stamp;
use cellmill_core::formats::{Indent, to_json};
use cellmill_core::ids::WorkerId;
use cellmill_core::job::{DataParameters, JobEvent, JobParameters, JobRecord, JobState};
use cellmill_core::keys::{DatasetFile, PackName, UnitKey};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::{PackEntry, PackList, WorkerRecord};
use cellmill_core::unit::{Claim, Output, UnitRecord, UnitState, decide_claim};
use cellmill_store::Put;
use cellmill_store::uploads::{NewSession, Sessions, Sha256Hex, Signer, StagedParts};
use chrono::TimeDelta;
use tempfile::TempDir;

use super::*;

struct Lab {
    _folder: TempDir,
    sweep: Retention,
}

fn dir(name: &str) -> Dir {
    Dir::parse(name).unwrap()
}

impl Lab {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open_folder(folder.path()).await.unwrap();
        let parts = StagedParts {
            store: store.clone(),
            signer: Signer::of_home(&store).await.unwrap(),
            endpoint: "/parts".to_owned(),
        };
        Self {
            _folder: folder,
            sweep: Retention::new(store, Arc::new(parts), &Settings::default()),
        }
    }

    fn store(&self) -> &Store {
        &self.sweep.store
    }

    fn after(&self, days: i64) -> DateTime<Utc> {
        self.store().now() + TimeDelta::days(days) + TimeDelta::seconds(5)
    }

    async fn put(&self, key: &ObjectKey) -> String {
        let bytes = key.to_path().into_bytes();
        self.store()
            .put_bytes(key, bytes, Put::Overwrite)
            .await
            .unwrap();
        key.to_path()
    }

    async fn output(&self, name: &str, unit: u32, attempt: u32, file: &str) -> String {
        self.put(&ObjectKey::UnitOutput {
            unit: unit_key(name, unit),
            attempt,
            file: file.to_owned(),
        })
        .await
    }

    async fn pack(&self, name: &str, letter: char) -> String {
        let pack = PackName {
            unit: 0,
            sha16: letter.to_string().repeat(16),
        };
        self.put(&ObjectKey::Dataset(dir(name), DatasetFile::Pack(pack)))
            .await
    }

    /// A data set of two units that is in a state.
    async fn job(&self, name: &str, state: JobState) {
        let now = self.store().now();
        let mut job = assembled(name, now);
        let events = match state {
            JobState::Running => vec![JobEvent::WorkStarted],
            JobState::Failed => vec![ended(&[0], &[1])],
            JobState::Cancelled => vec![JobEvent::Cancelled {
                by: "me".to_owned(),
            }],
            JobState::Done => vec![
                ended(&[0, 1], &[]),
                JobEvent::Collected {
                    result: serde_json::Value::Null,
                    report: None,
                },
            ],
            other => panic!("{other:?} is not made here"),
        };
        for event in events {
            job = job.apply(event, 2, now).unwrap().unwrap().0;
        }
        assert_eq!(job.state, state);
        let key = ObjectKey::job(JobKind::Data, &job.dir);
        self.store().create(&key, job).await.unwrap();
    }

    async fn unit(&self, name: &str, unit: u32, change: impl FnOnce(&mut UnitRecord)) {
        let now = self.store().now();
        let (job, key) = (assembled(name, now), unit_key(name, unit));
        let worker = WorkerId::parse("w").unwrap();
        let claim = decide_claim(&job, None, &key, &worker, now, Timing::default());
        let Claim::Take(mut record) = claim else {
            panic!("{claim:?}");
        };
        change(&mut record);
        self.store()
            .create(&ObjectKey::Unit(key), record)
            .await
            .unwrap();
    }

    async fn look(&self, now: DateTime<Utc>) -> Vec<Removal> {
        let slice = self.sweep.plan(&SweepRetention::default(), now).await;
        slice.unwrap().removals
    }

    async fn keys(&self) -> BTreeSet<String> {
        let listed: Vec<Listed> = self.store().list("").try_collect().await.unwrap();
        listed.into_iter().map(|it| it.key).collect()
    }
}

fn assembled(name: &str, now: DateTime<Utc>) -> JobRecord {
    let parameters = JobParameters::Data(DataParameters::default());
    let class = UnitClass::cpu();
    let job = JobRecord::accepted(dir(name), 1, parameters, class, "me".to_owned(), now);
    let event = JobEvent::Assembled {
        units: 2,
        snapshot: "s".to_owned(),
    };
    job.apply(event, 2, now).unwrap().unwrap().0
}

fn ended(done: &[u32], failed: &[u32]) -> JobEvent {
    JobEvent::UnitsEnded {
        done: done.to_vec(),
        failed: failed.to_vec(),
    }
}

fn unit_key(name: &str, unit: u32) -> UnitKey {
    UnitKey {
        dir: dir(name),
        kind: JobKind::Data,
        unit,
    }
}

fn named(key: &str) -> Output {
    Output {
        name: "rows".to_owned(),
        key: key.to_owned(),
        bytes: 1,
        sha256: String::new(),
    }
}

fn keys_of(removals: &[Removal]) -> BTreeSet<String> {
    let keys = removals.iter().flat_map(|it| match &it.what {
        Remove::ClearJob { keys, .. } | Remove::GiveUpUpload { keys, .. } => keys.clone(),
        Remove::RemoveOrphan { key }
        | Remove::RemovePack { key }
        | Remove::RemoveWorker { key } => vec![key.clone()],
    });
    keys.collect()
}

const RUNNING: &str = "running1";
const FAILED: &str = "failed01";
const DONE: &str = "done0001";

/// Three jobs; answers with the orphans, as a set.
async fn fill(lab: &Lab) -> BTreeSet<String> {
    lab.job(RUNNING, JobState::Running).await;
    let superseded = lab.output(RUNNING, 0, 1, "rows.csv").await;
    let checkpoint = lab.output(RUNNING, 0, 1, "checkpoint-00001").await;
    lab.output(RUNNING, 0, 2, "rows.csv").await;
    lab.unit(RUNNING, 0, |unit| {
        unit.attempt = 2;
        // Wherever a record names a key, it is kept; the named checkpoints change their form with the version.
        unit.step = checkpoint;
    })
    .await;
    lab.pack(RUNNING, 'a').await;

    lab.job(FAILED, JobState::Failed).await;
    let committed = lab.output(FAILED, 0, 1, "rows.csv").await;
    lab.unit(FAILED, 0, |unit| {
        unit.state = UnitState::Done;
        unit.outputs = vec![named(&committed)];
    })
    .await;
    let broken = lab.output(FAILED, 1, 1, "rows.csv").await;
    lab.output(FAILED, 1, 1, "log.txt").await;
    lab.unit(FAILED, 1, |unit| unit.state = UnitState::Failed)
        .await;
    lab.pack(FAILED, 'b').await;

    lab.job(DONE, JobState::Done).await;
    let listed = lab.pack(DONE, 'c').await;
    let stray = lab.pack(DONE, 'd').await;
    let list = PackList {
        v: 1,
        packs: vec![PackEntry {
            unit: 0,
            key: listed,
            bytes: 1,
            sha256: String::new(),
        }],
    };
    let key = ObjectKey::Dataset(dir(DONE), DatasetFile::Packs);
    lab.store()
        .put_bytes(&key, to_json(&list, Indent::Two), Put::Create)
        .await
        .unwrap();
    let rows = lab.output(DONE, 0, 1, "rows.csv").await;
    lab.unit(DONE, 0, |unit| {
        unit.state = UnitState::Done;
        unit.outputs = vec![named(&rows)];
    })
    .await;
    BTreeSet::from([superseded, broken, stray])
}

#[tokio::test]
async fn a_day_later_the_orphans_go_and_thirty_days_later_what_ended() {
    let lab = Lab::new().await;
    let orphans = fill(&lab).await;
    assert_eq!(lab.look(lab.after(0)).await, [], "everything is young");

    let removals = lab.look(lab.after(1)).await;
    assert_eq!(keys_of(&removals), orphans);
    let before = lab.keys().await;
    let removed = lab.sweep.perform(&removals, lab.after(1)).await.unwrap();
    assert_eq!(removed.n_objects, 3);
    let left: BTreeSet<_> = before.difference(&orphans).cloned().collect();
    assert_eq!(lab.keys().await, left);

    let later = lab.after(31);
    let removals = lab.look(later).await;
    let goes = |key: &&String| {
        let units = [FAILED, DONE].map(|it| Prefix::UnitsOfJob(dir(it)).to_path());
        let packs = Prefix::Packs(dir(FAILED)).to_path();
        units.iter().chain([&packs]).any(|it| key.starts_with(it))
    };
    let want: BTreeSet<_> = left.iter().filter(goes).cloned().collect();
    assert_eq!(keys_of(&removals), want);
    lab.sweep.perform(&removals, later).await.unwrap();
    let stays: BTreeSet<_> = left.difference(&want).cloned().collect();
    assert_eq!(lab.keys().await, stays);
    assert_eq!(lab.look(later).await, [], "once");
}

#[tokio::test]
async fn a_job_that_was_retried_since_the_look_keeps_everything() {
    let lab = Lab::new().await;
    fill(&lab).await;
    let later = lab.after(31);
    let removals = lab.look(later).await;
    let event = JobEvent::Retried {
        by: "me".to_owned(),
    };
    let retried = lab
        .store()
        .change_job(JobKind::Data, &dir(FAILED), event, 2)
        .await
        .unwrap();
    assert!(matches!(
        retried,
        cellmill_store::jobs::Applied::Changed(..)
    ));
    let before = lab.keys().await;
    lab.sweep.perform(&removals, later).await.unwrap();
    let of_failed = |keys: BTreeSet<String>| -> Vec<String> {
        keys.into_iter().filter(|it| it.contains(FAILED)).collect()
    };
    assert_eq!(of_failed(lab.keys().await), of_failed(before));
}

#[tokio::test]
async fn a_sweep_that_was_killed_after_its_mark_goes_on_and_a_retry_is_refused() {
    let lab = Lab::new().await;
    fill(&lab).await;
    let later = lab.after(31);
    let marked = lab.sweep.mark_only(FAILED, later).await;
    assert!(marked);
    let event = JobEvent::Retried {
        by: "me".to_owned(),
    };
    let retried = lab
        .store()
        .change_job(JobKind::Data, &dir(FAILED), event, 2)
        .await
        .unwrap();
    assert!(matches!(
        retried,
        cellmill_store::jobs::Applied::NotAllowed(_)
    ));
    // Whatever the clock says by then.
    let removals = lab.look(lab.after(0)).await;
    assert!(
        keys_of(&removals).iter().all(|it| it.contains(FAILED)) && !removals.is_empty(),
        "{removals:?}"
    );
}

impl Retention {
    async fn mark_only(&self, name: &str, now: DateTime<Utc>) -> bool {
        let nothing = Removal {
            what: Remove::ClearJob {
                kind: JobKind::Data,
                dir: dir(name),
                keys: Vec::new(),
            },
            why: String::new(),
            n_objects: 1,
            bytes: 0,
        };
        self.perform(&[nothing], now).await.unwrap().n_objects == 1
    }
}

#[tokio::test]
async fn slices_of_any_size_find_the_same() {
    let lab = Lab::new().await;
    fill(&lab).await;
    for days in [1, 31] {
        let now = lab.after(days);
        let whole = keys_of(&lab.look(now).await);
        for budget in 1..12 {
            let mut sweep = SweepRetention { from: None, budget };
            let mut found = BTreeSet::new();
            loop {
                let slice = lab.sweep.plan(&sweep, now).await.unwrap();
                assert!(slice.n_objects <= budget);
                found.extend(keys_of(&slice.removals));
                match slice.next {
                    Some(next) => sweep.from = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, whole, "{budget} at a time, after {days} days");
        }
    }
}

#[tokio::test]
async fn killed_workers_are_forgotten_and_uploads_given_up() {
    let lab = Lab::new().await;
    let id = WorkerId::parse("w").unwrap();
    let worker = WorkerRecord {
        stamp: Stamp::default(),
        id: id.clone(),
        classes: Vec::new(),
        kinds: Vec::new(),
        device: "cpu".to_owned(),
        started_at: lab.store().now(),
        unit: None,
        machine: None,
    };
    let worker_key = ObjectKey::Worker(id);
    lab.store().create(&worker_key, worker).await.unwrap();
    let sessions = Sessions {
        store: lab.store().clone(),
        home: lab.sweep.uploads.clone().unwrap(),
    };
    let wish = NewSession {
        key: "img/b/c/Images/d.jpg".to_owned(),
        bytes: 100 << 20,
        sha256: Sha256Hex::parse(&"0".repeat(64)).unwrap(),
        content_type: "image/jpeg".to_owned(),
        part_bytes: 8 << 20,
        create_only: true,
        by: "me".to_owned(),
    };
    let session = sessions.open(&wish).await.unwrap();
    let part = ObjectKey::UploadPart {
        upload: session.id(),
        number: 1,
        sha256: "0".repeat(64),
    };
    let part = lab.put(&part).await;
    let document = ObjectKey::Upload(session.id()).to_path();

    assert_eq!(lab.look(lab.after(0)).await, []);
    let day = keys_of(&lab.look(lab.after(2)).await);
    assert_eq!(day, [worker_key.to_path()].into());
    let later = lab.after(8);
    let removals = lab.look(later).await;
    let want = BTreeSet::from([worker_key.to_path(), document, part]);
    assert_eq!(keys_of(&removals), want);
    lab.sweep.perform(&removals, later).await.unwrap();
    assert_eq!(lab.keys().await, BTreeSet::new());
}

#[tokio::test]
async fn nothing_is_removed_on_the_word_of_a_document_that_nobody_understands() {
    let lab = Lab::new().await;
    fill(&lab).await;
    let key = ObjectKey::job(JobKind::Data, &dir(DONE));
    lab.store()
        .put_bytes(&key, "{", Put::Overwrite)
        .await
        .unwrap();
    let removals = lab.look(lab.after(31)).await;
    assert!(!removals.is_empty(), "the others are swept all the same");
    assert!(keys_of(&removals).iter().all(|it| !it.contains(DONE)));
}
