//! Workers, what jobs wait for, and why.

use std::time::Duration;

use cellmill_core::document::Stamp;
use cellmill_core::ids::{Dir, WorkerId};
use cellmill_core::job::{JobEvent, JobRecord};
use cellmill_core::keys::{JobKind, ObjectKey};
use cellmill_core::machine::Machine;
use cellmill_core::messages::UnitClass;
use cellmill_core::records::WorkerRecord;
use cellmill_store::Decision;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::datasets::{apply, with_image};
use crate::server::{Server, escaped, points};

const DIR: &str = "DkxD9Kjl";

/// A job of two units that wait.
async fn with_job() -> Server {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": DIR});
    assert_eq!(server.post("/api/v1/datasets", &new).await.status, 201);
    let assembled = JobEvent::Assembled {
        units: 2,
        snapshot: "s".to_owned(),
    };
    apply(&server, DIR, assembled).await;
    server
}

pub(crate) async fn with_worker(server: &Server, class: UnitClass) {
    let id = WorkerId::parse("lab-1").unwrap();
    let record = WorkerRecord {
        stamp: Stamp::default(),
        id: id.clone(),
        classes: vec![class],
        kinds: vec![JobKind::Data],
        device: "cpu".to_owned(),
        started_at: server.store.now(),
        unit: None,
        machine: Some(Machine {
            n_cpus: 4,
            memory_bytes: 8,
            memory_used_bytes: 3,
            ..Machine::default()
        }),
    };
    let key = ObjectKey::Worker(id);
    server.store.create(&key, record).await.unwrap();
}

fn whats(why: &Value) -> Vec<&str> {
    let events = why["events"].as_array().unwrap().iter();
    events.filter_map(|it| it["what"].as_str()).collect()
}

async fn why(server: &Server, subject: &str) -> Value {
    let answer = server.get(&format!("/api/v1/why?subject={subject}")).await;
    assert_eq!(answer.status, 200, "{subject}");
    answer.json()
}

#[tokio::test]
async fn a_job_says_that_nobody_serves_its_class_and_then_that_a_worker_is_there() {
    let server = with_job().await;
    let path = format!("/api/v1/jobs/data/{DIR}");
    let waits_for = async || server.get(&path).await.json()["waits_for"].clone();
    assert_eq!(
        waits_for().await,
        "no live worker serves class `cpu`: no worker is there"
    );
    with_worker(&server, UnitClass::cpu()).await;
    assert_eq!(
        waits_for().await,
        "a worker that serves it is there and takes it when it is free"
    );
}

#[tokio::test]
async fn workers_are_listed_with_their_machines() {
    let server = with_job().await;
    assert_eq!(
        server.get("/api/v1/workers").await.json()["items"],
        json!([])
    );
    with_worker(&server, UnitClass::gpu()).await;
    let listed = server.get("/api/v1/workers").await.json();
    let worker = &listed["items"][0];
    assert_eq!(
        (&worker["id"], &worker["is_live"]),
        (&json!("lab-1"), &json!(true))
    );
    assert_eq!(worker["classes"], json!(["gpu"]));
    assert_eq!(worker["machine"]["memory_used_bytes"], 3);
    let after = server.get("/api/v1/workers?after=lab-1").await.json();
    assert_eq!(after["items"], json!([]));
}

#[tokio::test]
async fn why_answers_for_a_job_and_a_unit_of_it() {
    let server = with_job().await;
    let of_job = why(&server, DIR).await;
    assert_eq!(of_job["subject"], format!("datasets/{DIR}/data.json"));
    let answer = of_job["answer"][0].as_str().unwrap();
    assert!(
        answer.contains("no live worker serves class `cpu`"),
        "{answer}"
    );
    assert_eq!(
        whats(&of_job),
        [
            "accepted from local",
            r#"audit trail: data.create {"number":1}"#,
            "assembled into 2 units"
        ]
    );
    let of_unit = why(&server, &format!("{DIR}/data-00001")).await;
    let answer = of_unit["answer"][0].as_str().unwrap();
    assert!(answer.starts_with("nobody has claimed it yet"), "{answer}");
    let missing = format!("/api/v1/why?subject={DIR}/data-00002");
    assert_eq!(server.get(&missing).await.status, 404);
}

#[tokio::test]
async fn why_answers_for_files_and_refuses_what_is_none() {
    let server = with_job().await;
    let gone = why(&server, "img/b1/c1/Images/never.png").await;
    assert_eq!(gone["answer"], json!(["no such image was sent"]));
    let gone = why(&server, "csv/b1/2019-7-22/c1/never.csv").await;
    assert_eq!(gone["answer"], json!(["no such CSV was sent"]));
    let refused = server.get("/api/v1/why?subject=what").await;
    assert_eq!(refused.status, 404, "no job has this directory");
    let refused = server.get("/api/v1/why?subject=what/ever").await;
    assert_eq!(refused.error().0, 400);
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .contains("DkxD9Kjl/train")
    );
}

#[tokio::test]
async fn why_weaves_in_who_did_what_to_the_job_and_to_no_other() {
    let server = with_job().await;
    let other = json!({"batches": ["b1"], "dir": "other000"});
    assert_eq!(server.post("/api/v1/datasets", &other).await.status, 201);
    let raise = format!("/api/v1/jobs/data/{DIR}/raise");
    assert_eq!(server.post(&raise, &json!({})).await.status, 200);
    let of_unit = why(&server, &format!("{DIR}/data-00000")).await;
    assert_eq!(
        whats(&of_unit),
        [
            r#"audit trail: data.create {"number":1}"#,
            r#"audit trail: job.raise {"round":0}"#
        ]
    );
    assert_eq!(of_unit["events"][1]["who"], "local");
}

#[tokio::test]
async fn why_of_an_image_names_the_data_set_that_left_it_out_and_who_edited_its_label() {
    let server = with_job().await;
    let units = JobEvent::UnitsEnded {
        done: vec![0, 1],
        failed: vec![],
    };
    apply(&server, DIR, units).await;
    let key = "img/b1/c1/Images/a.bmp";
    let rejected = json!([{"key": key, "code": "changed", "reason": "its bytes changed"}]);
    let collected = JobEvent::Collected {
        result: json!({"n_rejected": 1, "rejected": rejected}),
        report: None,
    };
    apply(&server, DIR, collected).await;
    let edit = json!({"operations": [{
        "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "rev": 1, "op": "set_image_class", "class": 2
    }]});
    let path = format!("/api/v1/image/label?key={}", escaped(key));
    let edited = server.post(&path, &edit).await;
    let of_image = why(&server, &escaped(key)).await;
    let answer = &of_image["answer"];
    assert_eq!(answer[0], "it is good: checked, with thumbnail and label");
    assert_eq!(
        answer[1],
        format!("data set `{DIR}` left it out: its bytes changed")
    );
    assert_eq!(edited.status, 200, "{edited:?}");
    let whats = whats(&of_image);
    assert!(
        whats
            .iter()
            .any(|it| it.starts_with("audit trail: label.edit")),
        "{whats:?}"
    );
}

#[tokio::test]
async fn why_of_points_names_bad_rows_and_what_replaced_them() {
    let server = with_image().await;
    let old = b"X,Y,Type\n5,5,1\n900,5,1\n";
    server.upload(&points("a.csv", old), old).await;
    let new = b"X,Y,Type\n6,5,1\n";
    let mut file = points("a.csv", new);
    let key = "csv/b1/2019-7-22/c1/a.csv";
    let before = why(&server, key).await;
    let answer = before["answer"].as_array().unwrap();
    assert_eq!(answer.len(), 2, "{before}");
    assert!(
        answer[1].as_str().unwrap().starts_with("line 3: "),
        "{before}"
    );
    file["date"] = json!("2019-10-1");
    server.upload(&file, new).await;
    let after = why(&server, key).await;
    assert_eq!(
        after["answer"][1],
        "points of a later date, 2019-10-1, stand in the label of img/b1/c1/Images/a.bmp in place of these"
    );
    let whats = whats(&after);
    assert!(
        whats.contains(&"replaced by csv/b1/2019-10-1/c1/a.csv"),
        "{whats:?}"
    );
}

#[tokio::test]
async fn a_job_whose_units_are_cleared_says_so_wherever_it_is_looked_at() {
    let server = with_job().await;
    let ended = JobEvent::UnitsEnded {
        done: vec![0],
        failed: vec![1],
    };
    apply(&server, DIR, ended).await;
    let key = ObjectKey::job(JobKind::Data, &Dir::parse(DIR).unwrap());
    let later = server.store.now() + TimeDelta::days(31);
    let kept = Duration::from_hours(30 * 24);
    server
        .store
        .swap::<JobRecord>(&key, |job| {
            let cleared = job.and_then(|it| it.clear(later, kept, later, Some("no disk")));
            Decision::Write(cleared.expect("it ended long ago"))
        })
        .await
        .unwrap();

    let path = format!("/api/v1/jobs/data/{DIR}");
    let error = server.get(&path).await.json()["error"].clone();
    assert!(error.as_str().unwrap().ends_with(": no disk"), "{error}");
    let log = server.get(&format!("{path}/log")).await;
    assert_eq!(log.status, 200);
    let log = String::from_utf8(log.bytes).unwrap();
    assert!(
        log.contains("records and logs of its units are removed"),
        "{log}"
    );
    let units = server.get(&format!("{path}/units")).await.json();
    assert_eq!(units["items"][0]["state"], "done");
    assert_eq!(units["items"][1]["state"], "failed");
    let step = units["items"][1]["step"].as_str().unwrap();
    assert!(step.contains("were removed on"), "{step}");
    let of_unit = why(&server, &format!("{DIR}/data-00001")).await;
    let answer = of_unit["answer"][0].as_str().unwrap();
    assert!(
        answer.contains("long after its job ended") && answer.contains("make a new one"),
        "{answer}"
    );
    let retry = server.post(&format!("{path}/retry"), &json!({})).await;
    assert_eq!(retry.error(), (409, "not_allowed".to_owned()));
}
