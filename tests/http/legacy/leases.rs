//! Who has a job, and until when (decision 7).

use cellmill_core::job::JobState;
use cellmill_core::keys::JobKind;
use cellmill_core::unit::UnitState;
use serde_json::json;

use super::lab::{CROPPER, DATASET, Lab, OK};

/// A lease of two hours, and the two seconds that stamps may be off.
const LEASE: u64 = 2 * 3600 + 2;
const OTHER: &str = "127.0.0.2";
const ASK: &str = r#"{"id":0,"status":1,"type":1,"mtype":7}"#;

fn done() -> &'static str {
    r#"{"id":1,"status":4,"percent":100,"ETA":0,"type":1}"#
}

#[tokio::test]
async fn a_silent_worker_keeps_its_job_for_two_hours_and_then_loses_it_to_who_asks() {
    let lab = Lab::with_dataset().await;
    assert_eq!(lab.take(1, CROPPER).await["id"], 1);
    lab.age_unit(JobKind::Data, DATASET, LEASE - 60);
    assert!(
        !lab.post_from(OTHER, "/api1/job", ASK)
            .await
            .contains(DATASET)
    );
    lab.age_unit(JobKind::Data, DATASET, LEASE + 60);
    let row = lab.post_from(OTHER, "/api1/job", ASK).await;
    assert!(row.contains(r#""status":1,"dir":"DkxD9Kjl""#), "{row}");

    // The first one wakes up: it is answered as ever, and changes nothing.
    lab.leave_cells();
    for status in [1, 2, 3, 4] {
        assert_eq!(lab.report(1, status, 80, 1800).await, OK);
    }
    let unit = lab.unit(JobKind::Data, DATASET).await;
    assert_eq!(
        (unit.attempt, unit.state, unit.percent),
        (2, UnitState::Leased, 0)
    );
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Running);

    assert_eq!(lab.post_from(OTHER, "/api1/jobresult", done()).await, OK);
    lab.turn().await;
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Done);
    let unit = lab.unit(JobKind::Data, DATASET).await;
    let how: Vec<&str> = unit.attempts.iter().map(|it| it.how.as_str()).collect();
    assert_eq!(how, ["lease lost", "committed"]);
}

#[tokio::test]
async fn four_times_the_eta_is_a_longer_lease() {
    let lab = Lab::with_dataset().await;
    lab.take(1, CROPPER).await;
    assert_eq!(lab.report(1, 2, 4, 3 * 3600).await, OK);
    lab.age_unit(JobKind::Data, DATASET, 12 * 3600 - 60);
    assert!(lab.sweep().await.is_empty(), "the janitor leaves it alone");
    lab.age_unit(JobKind::Data, DATASET, 12 * 3600 + 60);
    let acts = lab.sweep().await;
    assert_eq!(acts[0]["action"], "end_lease", "{acts:?}");
    let unit = lab.unit(JobKind::Data, DATASET).await;
    assert_eq!((unit.state, unit.failures), (UnitState::Waiting, 1));
}

#[tokio::test]
async fn a_worker_that_was_only_silent_ends_its_job_while_nobody_else_has_it() {
    let lab = Lab::with_dataset().await;
    lab.take(1, CROPPER).await;
    lab.age_unit(JobKind::Data, DATASET, LEASE + 60);
    assert_eq!(lab.sweep().await.len(), 1);
    lab.leave_cells();
    assert_eq!(lab.report(1, 4, 100, 0).await, OK);
    lab.turn().await;
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Done);
}

#[tokio::test]
async fn a_result_from_another_address_does_not_count() {
    let lab = Lab::with_dataset().await;
    lab.take(1, CROPPER).await;
    lab.leave_cells();
    assert_eq!(lab.post_from(OTHER, "/api1/jobresult", done()).await, OK);
    lab.turn().await;
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Running);
}

#[tokio::test]
async fn the_same_result_twice_is_one_commit() {
    let lab = Lab::cut().await;
    let before = lab.unit(JobKind::Data, DATASET).await;
    for status in [4, 2, 3, 1, 4] {
        assert_eq!(lab.report(1, status, 5, 5).await, OK);
    }
    lab.turn().await;
    assert_eq!(lab.unit(JobKind::Data, DATASET).await, before);
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Done);
}

#[tokio::test]
async fn a_third_silent_worker_ends_the_job() {
    let lab = Lab::with_dataset().await;
    for _ in 0..3 {
        assert_eq!(lab.take(1, CROPPER).await["id"], 1);
        lab.age_unit(JobKind::Data, DATASET, LEASE + 60);
        lab.sweep().await;
    }
    let job = lab.job(JobKind::Data, DATASET).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(lab.take(1, CROPPER).await["id"], 0);
}

#[tokio::test]
async fn an_error_ends_the_job_with_the_last_line_of_the_log_until_it_is_retried() {
    let lab = Lab::with_dataset().await;
    lab.take(1, CROPPER).await;
    lab.write(
        "datasets/DkxD9Kjl/log.txt",
        b"start\nCUDA out of memory\n\n",
    );
    assert_eq!(lab.report(1, 3, 40, 1800).await, OK);
    lab.turn().await;
    let path = format!("/api/v1/jobs/data/{DATASET}");
    let view = lab.server.get(&path).await.json();
    let error = view["error"].as_str().unwrap();
    assert!(
        error.contains("(status 3)") && error.ends_with("CUDA out of memory"),
        "{error}"
    );
    assert_eq!(view["legacy_status"], 3);
    let retried = lab.server.post(&format!("{path}/retry"), &json!({})).await;
    assert_eq!(retried.status, 200, "{retried:?}");
    assert_eq!(lab.take(1, CROPPER).await["id"], 1);
    assert_eq!(lab.unit(JobKind::Data, DATASET).await.attempt, 2);
}

#[tokio::test]
async fn a_cancelled_job_is_never_done() {
    let lab = Lab::with_dataset().await;
    lab.take(1, CROPPER).await;
    lab.leave_cells();
    let path = format!("/api/v1/jobs/data/{DATASET}/cancel");
    assert_eq!(lab.server.post(&path, &json!({})).await.status, 200);
    assert_eq!(lab.report(1, 4, 100, 0).await, OK);
    lab.turn().await;
    assert_eq!(lab.state(JobKind::Data, DATASET).await, JobState::Cancelled);
    let unit = lab.unit(JobKind::Data, DATASET).await;
    assert_eq!(unit.state, UnitState::Cancelled);
    assert_eq!(lab.take(1, CROPPER).await["id"], 0);
}

#[tokio::test]
async fn two_that_ask_at_once_get_one_job() {
    let lab = Lab::with_dataset().await;
    let asked = futures::future::join_all((0..8).map(|_| lab.take(1, CROPPER))).await;
    let given = asked.iter().filter(|it| it["id"] == 1).count();
    assert_eq!(given, 1, "{asked:?}");
    assert_eq!(lab.unit(JobKind::Data, DATASET).await.attempt, 1);
}
