//! Erasing a case over a folder root.

use std::collections::BTreeSet;
use std::sync::Arc;

use cellmill_core::document::Stamp;
use cellmill_core::ids::{BatchId, CaseId};
use cellmill_core::job::{DataParameters, JobParameters, JobRecord};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::{AuditEntry, ImageRecord, ImageState, Picture};
use cellmill_core::split::SplitRule;
use cellmill_core::training::{NetworkSettings, TrainParameters};
use cellmill_core::uploads::{UploadSession, session_id};
use cellmill_store::uploads::{Signer, StagedParts};
use cellmill_store::{Put, Store};
use futures::TryStreamExt as _;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn dir(name: &str) -> Dir {
    Dir::parse(name).unwrap()
}

fn case(name: &str) -> Case {
    Case {
        batch: BatchId::parse("b").unwrap(),
        case: CaseId::parse(name).unwrap(),
    }
}

struct Lab {
    _folder: TempDir,
    erase: EraseCase,
}

const DATA: &str = "cells001";
const OTHER: &str = "others01";
const TRAINING: &str = "train001";

impl Lab {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open_folder(folder.path()).await.unwrap();
        let uploads = StagedParts {
            store: store.clone(),
            signer: Signer::of_home(&store).await.unwrap(),
            endpoint: String::new(),
        };
        Self {
            _folder: folder,
            erase: EraseCase {
                store,
                uploads: Arc::new(uploads),
                versions: None,
            },
        }
    }

    fn store(&self) -> &Store {
        &self.erase.store
    }

    async fn put(&self, key: &str) {
        self.store()
            .put_bytes(key, key.to_owned(), Put::Overwrite)
            .await
            .unwrap();
    }

    /// A photograph with everything that is made of one.
    async fn image(&self, name: &str, thumbnail: char) {
        let key = format!("img/b/{name}/Images/x.jpg");
        let thumbnail = thumbnail.to_string().repeat(64);
        let record = ImageRecord {
            state: ImageState::Ok,
            picture: Some(Picture {
                format: "jpeg".to_owned(),
                width: 1,
                height: 1,
                orientation: 1,
                channels: 3,
                bits: 8,
                notes: Vec::new(),
                thumbnail: Some(thumbnail.clone()),
            }),
            ..ImageRecord::expected(key.parse().unwrap())
        };
        let record_key = ObjectKey::ImageRecord(record.key.clone());
        self.store().create(&record_key, record).await.unwrap();
        for key in [
            key,
            format!("img/b/{name}/Result-c.jpg"),
            format!("cache/{thumbnail}"),
            format!("csv/b/2019-7-22/{name}/x.csv"),
            format!("records/csv/b/2019-7-22/{name}/x.csv.json"),
            format!("records/stems/b/{name}/x.json"),
            format!("labels/img/b/{name}/Images/x.jpg.label"),
            format!("masks/img/b/{name}/Images/x.jpg.5.png"),
            format!("scratch/b/{name}/cells/x.png"),
            format!("review/b/{name}/Cells/x.png"),
        ] {
            self.put(&key).await;
        }
    }

    async fn upload(&self, name: &str) {
        let key = format!("img/b/{name}/Images/large.tif");
        let session = UploadSession {
            stamp: Stamp::default(),
            sha256: "0".repeat(64),
            bytes: 100 << 20,
            content_type: "image/tiff".to_owned(),
            part_bytes: 8 << 20,
            create_only: true,
            by: "me".to_owned(),
            at: self.store().now(),
            storage_id: None,
            stored_at: None,
            key: key.clone(),
        };
        let id = session_id(&key, session.bytes, &session.sha256);
        let document = ObjectKey::Upload(id.clone());
        self.store().create(&document, session).await.unwrap();
        let part = ObjectKey::UploadPart {
            upload: id,
            number: 1,
            sha256: "0".repeat(64),
        };
        self.put(&part.to_path()).await;
    }

    async fn job(&self, name: &str, parameters: JobParameters, state: JobState) {
        let now = self.store().now();
        let class = UnitClass::cpu();
        let mut job = JobRecord::accepted(dir(name), 1, parameters, class, "me".to_owned(), now);
        job.state = state;
        let key = ObjectKey::job(job.kind, &job.dir);
        self.store().create(&key, job).await.unwrap();
    }

    async fn dataset(&self, name: &str, of: &str, state: JobState) {
        let parameters = DataParameters {
            batches: vec![case("x").batch],
            cases: vec![case(of).case],
            ..DataParameters::default()
        };
        self.job(name, JobParameters::Data(parameters), state).await;
        let frozen =
            serde_json::json!({ "images": [{ "key": format!("img/b/{of}/Images/x.jpg") }] });
        let key = format!("datasets/{name}/snapshot.json");
        let put = self
            .store()
            .put_bytes(&*key, frozen.to_string(), Put::Create);
        put.await.unwrap();
        for key in [
            format!("datasets/{name}/cellslist.csv"),
            format!("datasets/{name}/packs/00000-0123456789abcdef.zip"),
            format!("units/{name}/data-00000/00001/rows.csv"),
        ] {
            self.put(&key).await;
        }
    }

    async fn training(&self, state: JobState) {
        let parameters = TrainParameters {
            ddir: dir(DATA),
            did: 1,
            mid: 100,
            types: vec![50, 51],
            merge: Vec::new(),
            resize: 96,
            time: 0,
            split: SplitRule::Case,
            seed: 1,
            network: NetworkSettings::default(),
            detector: None,
            propose_for: None,
            shuffle_labels: false,
            profile: false,
        };
        self.job(TRAINING, JobParameters::Train(parameters), state)
            .await;
        for key in [
            "projects/train001/split.csv",
            "projects/train001/train/50/b.c.x.png",
            "units/train001/train-00000/00001/model",
            "modules/classifier/100.safetensors",
            "modules/classifier/100.safetensors.json",
            "modules/classifier/1000.safetensors",
        ] {
            self.put(key).await;
        }
    }

    /// Two cases that share a thumbnail, a data set of each, a training on one.
    async fn fill(&self) {
        self.image("c", 'a').await;
        self.image("d", 'b').await;
        let shared = "img/b/c/Images/y.jpg";
        self.put(shared).await;
        let record = ImageRecord {
            picture: Some(Picture {
                thumbnail: Some("b".repeat(64)),
                ..self.picture_of("d").await
            }),
            ..ImageRecord::expected(shared.parse().unwrap())
        };
        let key = ObjectKey::ImageRecord(record.key.clone());
        self.store().create(&key, record).await.unwrap();
        self.upload("c").await;
        self.upload("d").await;
        self.dataset(DATA, "c", JobState::Done).await;
        self.dataset(OTHER, "d", JobState::Done).await;
        self.training(JobState::Done).await;
    }

    async fn picture_of(&self, name: &str) -> Picture {
        let key = ObjectKey::ImageRecord(format!("img/b/{name}/Images/x.jpg").parse().unwrap());
        let record = self.store().read::<ImageRecord>(&key).await.unwrap();
        record.unwrap().value.picture.unwrap()
    }

    async fn keys(&self) -> BTreeSet<String> {
        let listed: Vec<Listed> = self.store().list("").try_collect().await.unwrap();
        listed.into_iter().map(|it| it.key).collect()
    }

    async fn audit(&self) -> Vec<AuditEntry> {
        let mut entries = Vec::new();
        for key in self.keys().await {
            if key.starts_with("audit/") {
                let entry = self.store().read::<AuditEntry>(&*key).await.unwrap();
                entries.push(entry.unwrap().value);
            }
        }
        entries
    }
}

/// What stays after case `c` went.
fn stays(key: &str) -> bool {
    let is_of_dataset = key.contains(DATA) && !key.ends_with("/data.json");
    let is_of_training = key.contains(TRAINING) && !key.ends_with("/train.json");
    let is_own = key.contains("b/c/") || key.contains("/2019-7-22/c/");
    let is_cached = key.contains(&"a".repeat(64));
    !(is_of_dataset || is_of_training || is_own || is_cached)
}

#[tokio::test]
async fn a_case_goes_whole_with_what_stands_on_it_and_nothing_else() {
    let lab = Lab::new().await;
    lab.fill().await;
    let refused = lab.erase.plan(&case("c"), false).await.unwrap_err();
    let Error::Refused(Refusal::InDatasets {
        datasets, projects, ..
    }) = refused
    else {
        panic!("{refused}");
    };
    assert_eq!((datasets, projects), (vec![dir(DATA)], vec![dir(TRAINING)]));

    let before = lab.keys().await;
    let plan = lab.erase.plan(&case("c"), true).await.unwrap();
    assert_eq!(plan.models, ["classifier/100.safetensors"]);
    assert_eq!(plan.counts.n_images, 2);
    assert_eq!(lab.keys().await, before, "a look changes nothing");

    let erased = lab.erase.perform(&plan, "eve").await.unwrap();
    assert!(erased.ended.is_some());
    let upload = session_id("img/b/c/Images/large.tif", 100 << 20, &"0".repeat(64));
    let mut want: BTreeSet<String> = before
        .iter()
        .filter(|it| stays(it) && !it.contains(upload.as_str()))
        .cloned()
        .collect();
    want.insert("erased/b/c.json".to_owned());
    let now = lab.keys().await;
    let (audit, now): (BTreeSet<_>, BTreeSet<_>) =
        now.into_iter().partition(|it| it.starts_with("audit/"));
    assert_eq!(now, want);
    assert_eq!(audit.len(), 1);
    let entry = &lab.audit().await[0];
    assert_eq!(
        (&*entry.by, &*entry.action, &*entry.subject),
        ("eve", "case.erase", "b/c")
    );
    assert_eq!(entry.details["models"][0], "classifier/100.safetensors");

    let job = lab.store().read_job(JobKind::Train, &dir(TRAINING)).await;
    let job = job.unwrap().unwrap().value;
    assert!(job.error.unwrap().contains("erased with case b/c by eve"));
    let again = lab.erase.plan(&case("c"), false).await.unwrap_err();
    assert!(
        matches!(again, Error::Refused(Refusal::Unknown { .. })),
        "{again}"
    );
}

#[tokio::test]
async fn a_case_that_is_worked_on_stays_and_names_the_job() {
    for with_datasets in [false, true] {
        let lab = Lab::new().await;
        lab.fill().await;
        lab.dataset("running1", "c", JobState::Running).await;
        let refused = lab.erase.plan(&case("c"), with_datasets).await.unwrap_err();
        assert!(refused.to_string().contains("data running1"), "{refused}");
        assert!(lab.erase.plan(&case("d"), true).await.is_ok());
    }
}

#[tokio::test]
async fn an_erasure_that_was_killed_anywhere_is_ended_by_the_next_run() {
    for kept in [0, 1, 3, 6, 9, 11] {
        let lab = Lab::new().await;
        lab.fill().await;
        let before = lab.keys().await;
        let plan = lab.erase.plan(&case("c"), true).await.unwrap();
        // As far as a process came that was killed: some of everything is gone, in the order in which it goes.
        let mut begun = plan.clone();
        begun.own.truncate(kept);
        begun.of_jobs.truncate(kept);
        begun.cached.truncate(kept);
        begun.uploads.truncate(kept);
        begun.jobs.truncate(kept);
        let broken = lab.erase.perform(&begun, "eve").await.unwrap_err();
        assert!(matches!(broken, Error::Arriving { .. }), "{broken}");
        assert_eq!(lab.audit().await.len(), 0, "not before it is done");

        let rest = lab.erase.plan(&case("c"), false).await.unwrap();
        assert_eq!(rest.datasets, [dir(DATA)], "as it was begun");
        let erased = lab.erase.perform(&rest, "adam").await.unwrap();
        assert_eq!((&*erased.by, erased.counts), ("eve", plan.counts));
        let left = lab.keys().await;
        let gone: Vec<_> = before.difference(&left).filter(|it| stays(it)).collect();
        assert!(gone.iter().all(|it| it.starts_with("uploads/")), "{gone:?}");
        let stayed: Vec<_> = before.intersection(&left).filter(|it| !stays(it)).collect();
        assert_eq!(stayed, [""; 0], "{kept} before the crash");
        assert_eq!(lab.audit().await.len(), 1);
    }
}

#[test]
fn what_there_is_nothing_of_is_not_erased() {
    let refused = decide(&case("c"), CaseSeen::default(), true).unwrap_err();
    assert_eq!(refused.to_string(), "there is nothing of case b/c");
}

const STATES: [JobState; 7] = [
    JobState::Assembling,
    JobState::Queued,
    JobState::Running,
    JobState::Collecting,
    JobState::Done,
    JobState::Failed,
    JobState::Cancelled,
];

proptest! {
    #[test]
    fn no_plan_has_an_open_job_or_takes_data_sets_unasked(
        states in prop::collection::vec((0..STATES.len(), any::<bool>(), any::<bool>()), 0..4),
        with_datasets in any::<bool>(),
    ) {
        let jobs: Vec<JobSeen> = states
            .iter()
            .enumerate()
            .map(|(n, &(state, is_data, is_erased))| JobSeen {
                kind: if is_data { JobKind::Data } else { JobKind::Train },
                dir: dir(&format!("job{n:05}")),
                state: STATES[state],
                is_erased,
                mid: None,
            })
            .collect();
        let seen = CaseSeen {
            own: vec![Found { key: "img/b/c/Images/x.jpg".to_owned(), bytes: 7 }],
            jobs: jobs.clone(),
            ..CaseSeen::default()
        };
        let is_open = jobs.iter().any(|it| !it.state.is_ended());
        let would_take = jobs.iter().any(|it| !it.is_erased);
        match decide(&case("c"), seen, with_datasets) {
            Ok(plan) => {
                prop_assert!(!is_open && (with_datasets || !would_take));
                prop_assert_eq!(plan.counts.n_images, 1);
            }
            Err(Refusal::Active { .. }) => prop_assert!(is_open),
            Err(Refusal::InDatasets { .. }) => prop_assert!(would_take && !with_datasets),
            Err(Refusal::Unknown { .. }) => prop_assert!(false, "it has an image"),
        }
    }
}
