//! The vectors of A.5, byte by byte.

use cellmill_api::Settings;
use cellmill_core::job::JobState;
use cellmill_core::keys::JobKind;
use cellmill_store::Store;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::lab::{CROPPER, DATASET, Lab, OK, text};
use crate::server::Server;

const NO_TIME: &str = "0001-01-01T00:00:00Z";
const BAD: &str = r#"{"status":40,"data":null}"#;

fn go(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn no_dataset() -> String {
    format!(
        r#"{{"status":0,"data":{{"id":0,"desc":"","status":0,"dir":"","processtime":"{NO_TIME}","processend":"{NO_TIME}","process_percent":0,"ETA":0,"parameter_gray":0,"parameter_size":0,"parameter_type":0,"parameter_mid":0,"parameter_cache":0,"types":null,"batchids":null,"medicalids":null,"username":"","userimg":"","created_by":0,"created_at":"{NO_TIME}","updated_at":"{NO_TIME}"}}}}"#
    )
}

fn no_project() -> String {
    format!(
        r#"{{"status":0,"data":{{"id":0,"did":0,"desc":"","dir":"","status":0,"type":0,"starttime":"{NO_TIME}","endtime":"{NO_TIME}","percent":0,"ETA":0,"username":"","userimg":"","created_by":0,"created_at":"{NO_TIME}","updated_at":"{NO_TIME}","parameter_time":0,"parameter_resize":0,"parameter_mid":0,"parameter_mtype":0,"parameter_type":0,"cellstype":null}}}}"#
    )
}

#[tokio::test]
async fn a_data_set_is_handed_out_once_in_the_bytes_of_the_predecessor() {
    let lab = Lab::with_dataset().await;
    let ask = r#"{"id":0,"status":1,"type":1,"mtype":7}"#;
    let other_kind = lab
        .post("/api1/job", r#"{"id":0,"status":1,"type":1,"mtype":4}"#)
        .await;
    assert_eq!(text(&other_kind), no_dataset());
    assert_eq!(lab.server.n_waiting("units-legacy").await, 0, "no hint");

    let looked = lab
        .server
        .store
        .read_job(JobKind::Data, &DATASET.parse_dir())
        .await;
    let before = looked.unwrap().unwrap();
    let answer = lab.post("/api1/job", ask).await;
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    let (created, updated) = (go(before.value.times.created), go(before.last_modified));
    assert_eq!(
        text(&answer),
        format!(
            r#"{{"status":0,"data":{{"id":1,"desc":"a <first> & only","status":1,"dir":"DkxD9Kjl","processtime":"{NO_TIME}","processend":"{NO_TIME}","process_percent":0,"ETA":0,"parameter_gray":1,"parameter_size":100,"parameter_type":1,"parameter_mid":100,"parameter_cache":1,"types":null,"batchids":["b1"],"medicalids":null,"username":"local","userimg":"","created_by":0,"created_at":"{created}","updated_at":"{updated}"}}}}"#
        )
    );
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Running);
    assert_eq!(text(&lab.post("/api1/job", ask).await), no_dataset());
    // Looking takes nothing, and shows what is at work.
    let look = lab
        .post("/api1/job", r#"{"status":2,"type":1}"#)
        .await
        .json();
    assert_eq!(
        (&look["data"]["id"], &look["data"]["status"]),
        (&json!(1), &json!(2))
    );
}

#[tokio::test]
async fn reports_are_answered_ok_and_percent_follows_them() {
    let lab = Lab::with_dataset().await;
    let percent = async || text(&lab.server.get("/api1/jobpercent?id=1&type=1").await);
    let shown = |percent: u8, eta: u32, status: u8| {
        format!(r#"{{"status":0,"data":{{"percent":{percent},"ETA":{eta},"status":{status}}}}}"#)
    };
    assert_eq!(percent().await, shown(0, 0, 1));
    lab.take(1, CROPPER).await;
    assert_eq!(lab.report(1, 2, 4, 60).await, OK);
    assert_eq!(percent().await, shown(4, 60, 2));
    // Two images: their formula says 95, then 190 (decision 2).
    assert_eq!(lab.report(1, 2, 190, 0).await, OK);
    assert_eq!(percent().await, shown(99, 0, 2));
    assert_eq!(lab.report(1, 2, 47, 7).await, OK);
    assert_eq!(percent().await, shown(99, 7, 2), "it never falls");
    lab.leave_cells();
    assert_eq!(lab.report(1, 4, 100, 0).await, OK);
    lab.turn().await;
    assert_eq!(percent().await, shown(100, 0, 4));
    let log = lab.server.get("/api1/joblog?id=1&type=1").await;
    assert_eq!(text(&log), "{\"status\":0,\"data\":\"切割 done\\n\"}");
    let absent = lab.server.get("/api1/jobpercent?id=2&type=1").await;
    assert_eq!(text(&absent), r#"{"status":110,"data":null}"#);
    let absent = lab.server.get("/api1/joblog?id=2&type=3").await;
    assert_eq!(text(&absent), r#"{"status":100,"data":null}"#);
}

#[tokio::test]
async fn the_result_of_a_data_set_comes_in_pages() {
    let lab = Lab::cut().await;
    let info = async |query: &str| {
        let answer = lab.server.get(&format!("/api1/jobresult?{query}")).await;
        answer.json()["data"].clone()
    };
    let whole = info("did=1&done=1").await;
    let keys: Vec<&String> = whole.as_object().unwrap().keys().collect();
    assert!(keys.contains(&&"origin_imgs".to_owned()) && !keys.contains(&&"cells_rois".to_owned()));
    assert_eq!(
        (&whole["status"], &whole["cells_total"]),
        (&json!(4), &json!(3))
    );
    let page = info("did=1&done=1&limit=1&skip=1&limit2=1&skip2=1").await;
    assert_eq!(page["cells_crop"], json!([whole["cells_crop"][1]]));
    assert_eq!(page["origin_imgs"], json!(["img/b1/c1/Images/b.bmp"]));
    assert_eq!(
        (&page["cells_total"], &page["origin_total"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(info("did=1&done=0").await["cells_crop"], json!([]));
    assert_eq!(info("did=9&done=1").await, Value::Null);
    let bad = lab.server.get("/api1/jobresult?did=1&skip=x").await;
    assert_eq!(text(&bad), BAD);
}

#[tokio::test]
async fn trainings_and_predictions_come_in_the_bytes_of_the_predecessor() {
    let lab = Lab::cut().await;
    let ask =
        |kind: u8, mtype: u8| format!(r#"{{"id":0,"status":1,"type":{kind},"mtype":{mtype}}}"#);
    for kind in [2, 3] {
        assert_eq!(
            text(&lab.post("/api1/job", &ask(kind, 5)).await),
            no_project()
        );
    }
    lab.project(&json!({"kind": "train", "dataset": DATASET, "dir": "TrainAAA", "class": "legacy", "parameter_time": 60}))
        .await;
    let created = go(lab.job(JobKind::Train, "TrainAAA").await.times.created);
    let row = text(&lab.post("/api1/job", &ask(2, 77)).await);
    let updated = updated_at(&row);
    assert_eq!(
        row,
        format!(
            r#"{{"status":0,"data":{{"id":1,"did":1,"desc":"","dir":"TrainAAA","status":1,"type":2,"starttime":"{NO_TIME}","endtime":"{NO_TIME}","percent":0,"ETA":0,"username":"local","userimg":"","created_by":0,"created_at":"{created}","updated_at":"{updated}","parameter_time":60,"parameter_resize":64,"parameter_mid":101,"parameter_mtype":0,"parameter_type":1,"cellstype":null}}}}"#
        )
    );
    let mid = lab.register("classifier/mala.h5", 6).await;
    lab.project(&json!({"kind": "predict", "dataset": DATASET, "dir": "PredBBBB", "mid": mid}))
        .await;
    assert_eq!(text(&lab.post("/api1/job", &ask(3, 5)).await), no_project());
    let row = lab.take(3, 6).await;
    assert_eq!(
        (
            &row["id"],
            &row["type"],
            &row["parameter_mtype"],
            &row["parameter_resize"]
        ),
        (&json!(2), &json!(3), &json!(6), &json!(64))
    );
    let info = lab.read_json("projects/PredBBBB/info.json");
    let modpath = lab.path("modules/classifier/mala.h5");
    assert_eq!(
        info["modpath"],
        modpath.to_str().unwrap(),
        "opened as it stands"
    );
    let info = lab.read_json(&format!("datasets/{DATASET}/info.json"));
    assert_eq!(
        info["modpath"], "detector/yolo.weights",
        "joined with modules/"
    );
}

fn updated_at(row: &str) -> String {
    let row: Value = serde_json::from_str(row).unwrap();
    row["data"]["updated_at"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_asks_for_the_attempt_is_told_and_nobody_else() {
    let lab = Lab::with_dataset().await;
    let ask = r#"{"id":0,"status":1,"type":1,"mtype":7,"attempt":0}"#;
    let row = text(&lab.post("/api1/job", ask).await);
    assert!(row.ends_with(r#","attempt":1}}"#), "{row}");
    let report = |attempt: u32| {
        format!(r#"{{"id":1,"status":2,"percent":50,"ETA":9,"type":1,"attempt":{attempt}}}"#)
    };
    for (attempt, percent) in [(2, 0), (0, 0), (1, 50)] {
        assert_eq!(
            text(&lab.post("/api1/jobresult", &report(attempt)).await),
            OK
        );
        assert_eq!(lab.unit(JobKind::Data, DATASET).await.percent, percent);
    }
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_changes_nothing() {
    let lab = Lab::with_dataset().await;
    lab.take(1, CROPPER).await;
    for body in [
        "",
        "null",
        "[]",
        "{",
        r#"{"id":0,"status":1,"type":"1","mtype":7}"#,
        r#"{"id":0,"status":1.5,"type":1}"#,
        r#"{"id":0,"status":1,"type":0}"#,
        r#"{"id":0,"status":1,"type":4}"#,
        r#"{"id":"../../x","status":1,"type":1}"#,
        r#"{"id":0,"status":1,"type":1,"mtype":"7"}"#,
        r#"{"id":99999999999999999999999999,"status":1,"type":1}"#,
    ] {
        assert_eq!(text(&lab.post("/api1/job", body).await), BAD, "{body}");
    }
    for body in [
        r#"{"id":"1","status":4,"percent":100,"ETA":0,"type":1}"#,
        r#"{"id":1,"status":4,"percent":1e400,"ETA":0,"type":1}"#,
        r#"{"id":1,"status":4,"percent":100,"ETA":[],"type":1}"#,
        r#"{"id":1,"status":4,"percent":100,"ETA":0,"type":9}"#,
        r#"{"id":1,"status":4,"percent":100,"ETA":0,"type":1,"attempt":"1"}"#,
    ] {
        assert_eq!(
            text(&lab.post("/api1/jobresult", body).await),
            BAD,
            "{body}"
        );
    }
    // Readable, and about nothing that there is.
    for body in [
        r#"{"id":-1,"status":4,"percent":100,"ETA":0,"type":1}"#,
        r#"{"id":9223372036854775807,"status":4,"percent":100,"ETA":0,"type":1}"#,
        r#"{"id":1,"status":4,"percent":100,"ETA":0,"type":3}"#,
        r#"{"id":1,"status":99,"percent":-7,"ETA":-7,"type":1}"#,
        r#"{"id":1,"status":4,"percent":100,"ETA":0,"type":1,"attempt":-1}"#,
    ] {
        assert_eq!(text(&lab.post("/api1/jobresult", body).await), OK, "{body}");
    }
    for path in [
        "/api1/jobpercent?id=../1&type=1",
        "/api1/joblog?id=1",
        "/api1/joblog?type=1&id=%31",
    ] {
        assert_eq!(text(&lab.server.get(path).await), BAD, "{path}");
    }
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Running);
    let long = format!(r#"{{"id":{}}}"#, "1".repeat(2 << 20));
    assert_eq!(lab.post("/api1/job", &long).await.status, 413);
    assert_eq!(lab.server.get("/api1/job").await.status, 405);
}

#[tokio::test]
async fn the_endpoints_are_off_until_they_are_wanted_and_for_this_machine_only() {
    let ask = r#"{"id":0,"status":1,"type":1}"#;
    let paths = [
        "/api1/job",
        "/api1/jobresult",
        "/api1/jobpercent",
        "/api1/joblog",
    ];
    let wanted = Settings {
        legacy_workers: true,
        ..Settings::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let shared = Store::open_folder(folder.path()).await.unwrap();
    for (store, settings) in [(shared, Settings::default()), (Store::memory(), wanted)] {
        let server = Server::over(store, settings).await;
        for path in paths {
            let sent = server.request("POST", path).body(ask);
            assert_eq!(server.send(sent).await.status, 404, "{path}");
            assert_eq!(server.get(path).await.status, 404, "{path}");
        }
        let new = json!({"mtype": 7, "file": "detector/yolo.weights"});
        let refused = server.post("/api/v1/models/legacy", &new).await;
        assert_eq!(refused.error(), (422, "legacy_off".to_owned()));
    }
    let lab = Lab::start().await;
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.7"),
        ("forwarded", "for=10.0.0.7"),
    ] {
        let sent = lab.server.request("POST", "/api1/job").header(name, value);
        let answer = lab.server.send(sent.body(ask)).await;
        assert_eq!(answer.error(), (403, "not_local".to_owned()));
    }
    let page = lab
        .server
        .request("POST", "/api1/job")
        .header("origin", "http://evil.example");
    assert_eq!(lab.server.send(page.body(ask)).await.status, 403);
}

trait ParseDir {
    fn parse_dir(&self) -> cellmill_core::ids::Dir;
}

impl ParseDir for str {
    fn parse_dir(&self) -> cellmill_core::ids::Dir {
        cellmill_core::ids::Dir::parse(self).unwrap()
    }
}
