//! Data sets: what is accepted, in which order, and what is shown.

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobEvent, JobRecord};
use cellmill_core::keys::{DatasetFile, JobKind, NumberKind, ObjectKey, Prefix};
use cellmill_core::messages::ASSEMBLE;
use cellmill_core::records::{ActiveMark, NumberRecord};
use cellmill_store::{Decision, Put};
use serde_json::json;

use crate::server::{Server, bmp, image};

/// A server with one image in batch `b1`, case `c1`.
pub(crate) async fn with_image() -> Server {
    let server = Server::start().await;
    upload_image(&server).await;
    server
}

pub(crate) async fn upload_image(server: &Server) {
    let bytes = bmp(20, 10, 7);
    server.upload(&image("a.bmp", &bytes), &bytes).await;
}

/// Changes a job as the functions would.
pub(crate) async fn apply(server: &Server, dir: &str, event: JobEvent) {
    let key = ObjectKey::job(JobKind::Data, &Dir::parse(dir).unwrap());
    let decide = |job: Option<&JobRecord>| {
        let applied = job
            .unwrap()
            .apply(event.clone(), 64, server.store.now())
            .unwrap();
        applied.map_or(Decision::Keep, |(next, _)| Decision::Write(next))
    };
    assert!(server.store.swap(&key, decide).await.unwrap().changed);
}

#[tokio::test]
async fn an_accepted_data_set_has_number_mark_record_message_and_audit() {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "description": "first", "dir": "DkxD9Kjl"});
    let answer = server.post("/api/v1/datasets", &new).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let view = answer.json();
    assert_eq!(
        (&view["number"], &view["dir"], &view["job"]["state"]),
        (&json!(1), &json!("DkxD9Kjl"), &json!("assembling"))
    );
    let dir = Dir::parse("DkxD9Kjl").unwrap();
    let number: NumberRecord = server
        .store
        .read(&ObjectKey::Number(NumberKind::Datasets, 1))
        .await
        .unwrap()
        .unwrap()
        .value;
    assert_eq!(
        (number.dir.as_str(), number.description.as_str()),
        ("DkxD9Kjl", "first")
    );
    let mark = ObjectKey::Active {
        kind: JobKind::Data,
        dir,
        round: 0,
    };
    assert!(
        server
            .store
            .read::<ActiveMark>(&mark)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(server.n_waiting(ASSEMBLE).await, 1);
    let mut audit = server.store.list(&Prefix::Audit.to_path());
    let entry = futures::StreamExt::next(&mut audit).await.unwrap().unwrap();
    let entry: serde_json::Value =
        serde_json::from_slice(&server.store.get_bytes(&entry.key).await.unwrap()).unwrap();
    assert_eq!(
        (&entry["action"], &entry["by"]),
        (&json!("data.create"), &json!("local"))
    );
}

#[tokio::test]
async fn a_directory_is_given_once_and_numbers_count_on() {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": "DkxD9Kjl"});
    assert_eq!(server.post("/api/v1/datasets", &new).await.status, 201);
    assert_eq!(
        server.post("/api/v1/datasets", &new).await.error(),
        (409, "taken".to_owned())
    );
    let other = server
        .post("/api/v1/datasets", &json!({"batches": ["b1"]}))
        .await
        .json();
    assert_eq!(other["number"], 2, "a refused request takes no number");
    assert_eq!(other["dir"].as_str().unwrap().len(), 8);
    let page = server.get("/api/v1/datasets?limit=1").await.json();
    assert_eq!(
        (&page["items"][0]["number"], &page["next"]),
        (&json!(2), &json!("2")),
        "the newest first"
    );
    let page = server.get("/api/v1/datasets?limit=1&after=2").await.json();
    assert_eq!(
        (&page["items"][0]["number"], &page["next"]),
        (&json!(1), &json!(null))
    );
}

/// Two may ask for one directory at once; the number of the one that came late is a gap.
#[tokio::test]
async fn a_number_whose_job_never_came_is_skipped() {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": "DkxD9Kjl"});
    server.post("/api/v1/datasets", &new).await;
    for (number, dir) in [(2, "DkxD9Kjl"), (3, "NeverXXX")] {
        let record = json!({"v": 1, "rev": 1, "write": "w", "number": number, "dir": dir,
            "description": "", "by": "x", "at": "2026-01-01T00:00:00Z"});
        let key = ObjectKey::Number(NumberKind::Datasets, number);
        server
            .store
            .put_bytes(&key, record.to_string(), Put::Create)
            .await
            .unwrap();
    }
    for path in ["/api/v1/datasets", "/api/v1/jobs"] {
        let page = server.get(path).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(page["items"][0]["number"], 1, "{path}");
    }
    let next = server
        .post("/api/v1/datasets", &json!({"batches": ["b1"]}))
        .await
        .json();
    assert_eq!(next["number"], 4);
}

#[tokio::test]
async fn each_parameter_has_its_limits() {
    let server = with_image().await;
    for (change, code) in [
        (json!({"batches": []}), "bad_parameter"),
        (json!({"batches": ["none"]}), "unknown_batch"),
        (json!({"cases": ["none"]}), "unknown_case"),
        (json!({"parameter_size": 0}), "bad_parameter"),
        (json!({"parameter_size": 4000}), "bad_parameter"),
        (
            json!({"parameter_type": 3, "label_type": "none"}),
            "unknown_label_type",
        ),
        (json!({"parameter_type": 9}), "bad_parameter"),
        (json!({"parameter_gray": 2}), "bad_parameter"),
        (json!({"parameter_cache": 2}), "bad_parameter"),
        (json!({"parameter_mid": 7}), "unknown_model"),
        (json!({"match_radius": 0}), "bad_parameter"),
        (json!({"match_iou": 1.5}), "bad_parameter"),
        (json!({"description": "x".repeat(2001)}), "bad_parameter"),
    ] {
        let mut new = json!({"batches": ["b1"]});
        new.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let answer = server.post("/api/v1/datasets", &new).await;
        assert_eq!(answer.error(), (422, code.to_owned()), "{change}");
    }
    for change in [
        json!({"batches": ["a/b"]}),
        json!({"dir": "a-b"}),
        json!({"parameter_sise": 9}),
    ] {
        let mut new = change.clone();
        if change.get("batches").is_none() {
            new["batches"] = json!(["b1"]);
        }
        let answer = server.post("/api/v1/datasets", &new).await;
        assert_eq!(answer.error(), (400, "malformed".to_owned()), "{change}");
    }
    assert_eq!(
        server.get("/api/v1/datasets").await.json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn whole_images_of_a_label_type_come_from_all_batches_or_some() {
    let server = with_image().await;
    let settings = json!({"algorithm": 1101, "labels": ["a", "b"]});
    server.put("/api/v1/label-types/smears", &settings).await;
    // An empty list means all only where a label type says what is wanted.
    let nothing = server.post("/api/v1/datasets", &json!({})).await;
    assert_eq!(nothing.error(), (422, "bad_parameter".to_owned()));
    let new = json!({"parameter_type": 3, "label_type": "smears"});
    let all = server.post("/api/v1/datasets", &new).await;
    assert_eq!(all.status, 201, "{all:?}");
    let cases = json!({"parameter_type": 3, "label_type": "smears", "cases": ["c1"]});
    let cases = server.post("/api/v1/datasets", &cases).await;
    assert_eq!(
        cases.error(),
        (422, "bad_parameter".to_owned()),
        "a case without its batch"
    );
    let key = ObjectKey::job(
        JobKind::Data,
        &Dir::parse(all.json()["dir"].as_str().unwrap()).unwrap(),
    );
    let job: JobRecord = server.store.read(&key).await.unwrap().unwrap().value;
    let parameters = serde_json::to_value(&job.parameters).unwrap();
    assert_eq!(
        (
            &parameters["data"]["type"],
            &parameters["data"]["label_type"],
            &parameters["data"]["batches"]
        ),
        (&json!(3), &json!("smears"), &json!(["b1"]))
    );
}

/// One damaged file must not hide the data sets of a list.
#[tokio::test]
async fn a_data_set_whose_counts_cannot_be_read_shows_none() {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": "DkxD9Kjl"});
    server.post("/api/v1/datasets", &new).await;
    let key = ObjectKey::Dataset(Dir::parse("DkxD9Kjl").unwrap(), DatasetFile::Info);
    server
        .store
        .put_bytes(&key, "{ no document", Put::Create)
        .await
        .unwrap();
    let assembled = JobEvent::Assembled {
        units: 0,
        snapshot: "s1".to_owned(),
    };
    apply(&server, "DkxD9Kjl", assembled).await;
    let collected = JobEvent::Collected {
        result: json!({}),
        report: Some(json!({"n": 1})),
    };
    apply(&server, "DkxD9Kjl", collected).await;
    let page = server.get("/api/v1/datasets").await;
    assert_eq!(page.status, 200, "{page:?}");
    let shown = page.json()["items"][0].clone();
    assert_eq!(
        (&shown["statistics"], &shown["job"]["report"]),
        (&json!(null), &json!({"n": 1}))
    );
}

#[tokio::test]
async fn files_are_listed_and_sent_by_their_documented_names() {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": "DkxD9Kjl"});
    server.post("/api/v1/datasets", &new).await;
    let dir = Dir::parse("DkxD9Kjl").unwrap();
    let csv = "a,b\n1,2\n";
    let key = ObjectKey::Dataset(dir, DatasetFile::CellsList { part: 0 });
    server
        .store
        .put_bytes(&key, csv, Put::Create)
        .await
        .unwrap();
    server
        .store
        .put_bytes("datasets/DkxD9Kjl/stranger.txt", "x", Put::Create)
        .await
        .unwrap();
    let page = server.get("/api/v1/datasets/DkxD9Kjl/files").await.json();
    let names: Vec<&str> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cellslist.csv", "data.json"]);
    let file = server
        .get("/api/v1/datasets/DkxD9Kjl/files/cellslist.csv")
        .await;
    assert_eq!(
        (file.header("content-type"), &file.bytes[..]),
        ("text/csv; charset=utf-8", csv.as_bytes())
    );
    assert_eq!(file.header("content-disposition"), "attachment");
    for stranger in [
        "stranger.txt",
        "../../img/b1/c1/Images/a.bmp",
        "%2e%2e/x",
        "packs/x.zip",
        "snapshot.json",
    ] {
        let answer = server
            .get(&format!("/api/v1/datasets/DkxD9Kjl/files/{stranger}"))
            .await;
        assert_eq!(answer.error(), (404, "not_found".to_owned()), "{stranger}");
    }
}

#[tokio::test]
async fn a_finished_data_set_shows_its_counts() {
    let server = with_image().await;
    server
        .put("/api/v1/classes/lab", &json!({"ids": {"RBC": 301}}))
        .await;
    let new = json!({"batches": ["b1"], "dir": "DkxD9Kjl"});
    server.post("/api/v1/datasets", &new).await;
    apply(
        &server,
        "DkxD9Kjl",
        JobEvent::Assembled {
            units: 0,
            snapshot: "s1".to_owned(),
        },
    )
    .await;
    let info = json!({"labelcnt": 3, "types": [{"celltype": 301, "labelcnt": 3}], "origin_imgs": null, "later": 1});
    let key = ObjectKey::Dataset(Dir::parse("DkxD9Kjl").unwrap(), DatasetFile::Info);
    server
        .store
        .put_bytes(&key, info.to_string(), Put::Create)
        .await
        .unwrap();
    let before = server.get("/api/v1/datasets/DkxD9Kjl").await.json();
    assert_eq!(
        (&before["statistics"], &before["job"]["percent"]),
        (&json!(null), &json!(99))
    );
    apply(
        &server,
        "DkxD9Kjl",
        JobEvent::Collected {
            result: json!({}),
            report: None,
        },
    )
    .await;
    let done = server.get("/api/v1/datasets/DkxD9Kjl").await.json();
    assert_eq!(
        (&done["job"]["percent"], &done["job"]["legacy_status"]),
        (&json!(100), &json!(4))
    );
    assert_eq!(done["snapshot"], "s1");
    assert_eq!(
        done["statistics"]["types"],
        json!([{"celltype": 301, "labelcnt": 3, "name": "RBC"}])
    );
}
