//! Jobs: what people want of them, and what is shown.

use cellmill_core::ids::Dir;
use cellmill_core::job::JobEvent;
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::messages::{ASSEMBLE, UnitClass};
use cellmill_core::records::ActiveMark;
use cellmill_store::Put;
use serde_json::{Value, json};

use crate::datasets::{apply, with_image};
use crate::server::{Answer, Server};

const DIR: &str = "DkxD9Kjl";

async fn with_job() -> Server {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": DIR});
    assert_eq!(server.post("/api/v1/datasets", &new).await.status, 201);
    server
}

fn assembled(units: u32) -> JobEvent {
    JobEvent::Assembled {
        units,
        snapshot: "s".to_owned(),
    }
}

async fn ask(server: &Server, action: &str) -> Answer {
    server
        .post(&format!("/api/v1/jobs/data/{DIR}/{action}"), &json!({}))
        .await
}

async fn job(server: &Server) -> Value {
    server.get(&format!("/api/v1/jobs/data/{DIR}")).await.json()
}

fn not_allowed() -> (u16, String) {
    (409, "not_allowed".to_owned())
}

#[tokio::test]
async fn a_cancel_is_acknowledged_once_and_final() {
    let server = with_job().await;
    let answer = ask(&server, "cancel").await;
    assert_eq!(
        (answer.status, &answer.json()["state"]),
        (200, &json!("cancelled"))
    );
    assert_eq!(
        ask(&server, "cancel").await.status,
        200,
        "a repeat changes nothing"
    );
    for action in ["raise", "retry"] {
        let answer = ask(&server, action).await;
        assert_eq!(answer.error(), not_allowed(), "{action}");
        assert!(answer.json()["message"].as_str().unwrap().contains(DIR));
    }
    let history = job(&server).await["history"].clone();
    let lines = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["what"] == "cancelled by local");
    assert_eq!(lines.count(), 1);
}

#[tokio::test]
async fn a_job_whose_result_is_being_written_cannot_be_cancelled() {
    let server = with_job().await;
    apply(&server, DIR, assembled(0)).await;
    assert_eq!(job(&server).await["state"], "collecting");
    assert_eq!(ask(&server, "cancel").await.error(), not_allowed());
    apply(
        &server,
        DIR,
        JobEvent::Collected {
            result: json!(null),
            report: None,
        },
    )
    .await;
    assert_eq!(ask(&server, "cancel").await.error(), not_allowed());
}

#[tokio::test]
async fn only_a_training_is_stopped() {
    let server = with_job().await;
    apply(&server, DIR, assembled(1)).await;
    let refused = ask(&server, "stop").await;
    assert_eq!(refused.error(), not_allowed());
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("cancel it"), "{message}");
}

#[tokio::test]
async fn a_raised_job_has_its_window_in_the_urgent_queue() {
    let server = with_job().await;
    apply(&server, DIR, assembled(100)).await;
    let answer = ask(&server, "raise").await;
    assert_eq!(
        (answer.status, &answer.json()["wishes"]["urgent"]),
        (200, &json!(true))
    );
    assert_eq!(server.n_waiting(&UnitClass::cpu().urgent_queue()).await, 64);
    assert_eq!(ask(&server, "raise").await.status, 200);
    assert_eq!(
        server.n_waiting(&UnitClass::cpu().urgent_queue()).await,
        64,
        "once"
    );
}

#[tokio::test]
async fn a_failed_job_is_retried_with_its_mark_and_hints() {
    let server = with_job().await;
    assert_eq!(
        ask(&server, "retry").await.error(),
        not_allowed(),
        "it has not failed"
    );
    apply(&server, DIR, assembled(3)).await;
    let ended = JobEvent::UnitsEnded {
        done: vec![0, 2],
        failed: vec![1],
    };
    apply(&server, DIR, ended).await;
    assert_eq!(job(&server).await["error"], "1 of 3 units failed: 1");
    let retried = ask(&server, "retry").await.json();
    assert_eq!(
        (&retried["state"], &retried["round"]),
        (&json!("queued"), &json!(1))
    );
    assert_eq!(
        server.n_waiting(&UnitClass::cpu().queue()).await,
        1,
        "only the failed unit"
    );
    let dir = Dir::parse(DIR).unwrap();
    let mark = ObjectKey::Active {
        kind: JobKind::Data,
        dir,
        round: 1,
    };
    assert!(
        server
            .store
            .read::<ActiveMark>(&mark)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_job_that_failed_while_assembling_is_assembled_again() {
    let server = with_job().await;
    apply(
        &server,
        DIR,
        JobEvent::Failed {
            error: "no such model".to_owned(),
        },
    )
    .await;
    let before = server.n_waiting(ASSEMBLE).await;
    assert_eq!(ask(&server, "retry").await.json()["state"], "assembling");
    assert_eq!(server.n_waiting(ASSEMBLE).await, before + 1);
}

#[tokio::test]
async fn units_are_shown_claimed_or_not() {
    let server = with_job().await;
    apply(&server, DIR, assembled(3)).await;
    apply(&server, DIR, JobEvent::WorkStarted).await;
    let key = UnitKey {
        dir: Dir::parse(DIR).unwrap(),
        kind: JobKind::Data,
        unit: 1,
    };
    let record = json!({"v": 1, "rev": 1, "write": "w", "key": key, "state": "leased", "round": 0, "attempt": 2,
        "owner": "w1", "percent": 30, "eta_s": 9, "step": "cutting"});
    server
        .store
        .put_bytes(
            &ObjectKey::Unit(key.clone()),
            record.to_string(),
            Put::Create,
        )
        .await
        .unwrap();
    let log = ObjectKey::UnitOutput {
        unit: key,
        attempt: 2,
        file: "log.txt".to_owned(),
    };
    server
        .store
        .put_bytes(&log, "cut 3 cells\n", Put::Create)
        .await
        .unwrap();

    let units = server
        .get(&format!("/api/v1/jobs/data/{DIR}/units?limit=2"))
        .await
        .json();
    let shown: Vec<(&Value, &Value)> = units["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["unit"], &it["state"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!(0), &json!("waiting")),
            (&json!(1), &json!("leased"))
        ]
    );
    assert_eq!(units["next"], "1");
    let rest = server
        .get(&format!("/api/v1/jobs/data/{DIR}/units?limit=2&after=1"))
        .await
        .json();
    assert_eq!(
        (rest["items"].as_array().unwrap().len(), &rest["next"]),
        (1, &json!(null))
    );

    let job = job(&server).await;
    assert_eq!(
        (&job["percent"], &job["units"]["running"]),
        (&json!(10), &json!(1))
    );
    assert_eq!(
        (&job["running"][0]["owner"], &job["running"][0]["attempt"]),
        (&json!("w1"), &json!(2))
    );
    let log = server.get(&format!("/api/v1/jobs/data/{DIR}/log")).await;
    assert_eq!(log.header("content-type"), "text/plain; charset=utf-8");
    let text = String::from_utf8(log.bytes).unwrap();
    assert!(
        text.contains("job accepted from local\n") && text.ends_with("cut 3 cells\n"),
        "{text}"
    );
}

#[tokio::test]
async fn jobs_are_filtered_by_state_and_kind() {
    let server = with_job().await;
    server
        .post("/api/v1/datasets", &json!({"batches": ["b1"]}))
        .await;
    ask(&server, "cancel").await;
    for (query, n_expected) in [
        ("", 2),
        ("?state=cancelled", 1),
        ("?state=running", 0),
        ("?kind=data", 2),
        ("?kind=train", 0),
    ] {
        let page = server.get(&format!("/api/v1/jobs{query}")).await.json();
        assert_eq!(
            page["items"].as_array().unwrap().len(),
            n_expected,
            "{query}"
        );
    }
    let first = server.get("/api/v1/jobs?limit=1").await.json();
    assert_eq!(
        (&first["items"][0]["number"], &first["next"]),
        (&json!(2), &json!("data-2"))
    );
    let second = server.get("/api/v1/jobs?limit=1&after=data-2").await.json();
    assert_eq!(
        (&second["items"][0]["number"], &second["next"]),
        (&json!(1), &json!(null))
    );
}
