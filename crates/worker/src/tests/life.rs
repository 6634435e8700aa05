//! Units from hint to end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cellmill_core::job::{JobEvent, JobState};
use cellmill_core::keys::{ObjectKey, Prefix};
use cellmill_core::timing::Timing;
use cellmill_core::unit::UnitState;
use cellmill_queue::{Outgoing, QueueName};
use futures::TryStreamExt as _;

use super::support::{Bench, Deed, Fake, Worker, assert_same};

fn is_done(unit: &cellmill_core::unit::UnitRecord) -> bool {
    unit.state == UnitState::Done
}

#[tokio::test]
async fn a_unit_is_claimed_run_and_committed_with_its_outputs() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let fake = Fake::new(Deed::Succeed);
    let worker = bench.start(&fake, |_| {});
    let unit = bench.until(0, is_done).await;
    worker.end().await;

    assert_eq!((unit.attempt, unit.percent, unit.owner), (1, 100, None));
    let names: Vec<&str> = unit.outputs.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["rows", "log"]);
    for output in &unit.outputs {
        let bytes = bench.store.get_bytes(&output.key).await.unwrap();
        assert_eq!(output.bytes, bytes.len() as u64);
        assert_eq!(output.sha256, cellmill_core::ids::sha256_hex(&bytes));
    }
    let log = bench.store.get_bytes(&unit.outputs[1].key).await.unwrap();
    let log = std::str::from_utf8(&log).unwrap();
    assert!(
        log.contains(" - WARNING - left out `img/a/b/Images/bad.jpg`: conflict: other bytes\n"),
        "{log}"
    );
    assert_eq!(unit.rejected.len(), 1);
    assert_eq!(bench.said_ended().await, [0]);
    assert_eq!(bench.job().await.state, JobState::Running);
    assert_eq!(bench.hints_out().await, 0);
    let workers: Vec<_> = bench
        .store
        .list(&Prefix::Workers.to_path())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(workers, [], "a clean end leaves no worker behind");
}

#[tokio::test]
async fn a_worker_tells_what_it_did() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Succeed), |_| {});
    let metrics = Arc::clone(&worker.metrics);
    bench.until(0, is_done).await;
    worker.end().await;
    let figures = Worker::figures(&metrics);
    for line in [
        r#"cellmill_worker_units_total{kind="data",end="done"} 1"#,
        "cellmill_worker_units_held 0",
    ] {
        assert!(figures.lines().any(|it| it == line), "{line}: {figures}");
    }
    assert!(
        figures.contains(r#"cellmill_store_calls_total{operation="put",outcome="ok"}"#),
        "{figures}"
    );
}

#[tokio::test]
async fn a_duplicate_hint_starts_no_second_run() {
    let bench = Bench::new(1).await;
    bench.hint(&[0, 0, 0, 0]).await;
    let fake = Fake::new(Deed::Take(Duration::from_millis(300)));
    let (one, two) = (
        bench.start(&fake, |it| it.concurrency = 2),
        bench.start(&fake, |_| {}),
    );
    bench.until(0, is_done).await;
    bench.hint(&[0]).await;
    while bench.hints_out().await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    one.end().await;
    two.end().await;
    assert_eq!(fake.n_started(), 1);
    assert_eq!(bench.unit(0).await.unwrap().attempt, 1);
}

#[tokio::test]
async fn a_late_hint_of_an_ended_unit_says_again_that_it_ended() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Succeed), |_| {});
    bench.until(0, is_done).await;
    bench.hint(&[0]).await;
    while bench.hints_out().await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.end().await;
    assert_eq!(bench.said_ended().await, [0, 0]);
}

#[tokio::test]
async fn a_heartbeat_carries_progress_and_outlives_the_lease() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let fake = Fake::new(Deed::Take(Duration::from_secs(3)));
    let worker = bench.start(&fake, |_| {});
    let seen = bench.until(0, |it| it.percent == 40).await;
    assert_eq!(seen.step, "taking its time");
    let unit = bench.until(0, is_done).await;
    worker.end().await;
    assert!(
        unit.stamp.rev > 5,
        "three leases long, so several beats: rev {}",
        unit.stamp.rev
    );
    assert_eq!(unit.attempt, 1);
}

/// On one thread for all tasks: a computation without an await must not hold up the heartbeat.
#[tokio::test(flavor = "current_thread")]
async fn computing_does_not_hold_up_the_heartbeat() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Compute(Duration::from_secs(2))), |_| {});
    let unit = bench.until(0, is_done).await;
    worker.end().await;
    assert!(unit.stamp.rev > 4, "rev {}", unit.stamp.rev);
}

#[tokio::test]
async fn a_cancel_during_a_run_ends_it_without_a_commit() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let fake = Fake::new(Deed::UntilStopped);
    let worker = bench.start(&fake, |_| {});
    bench.until(0, |it| it.state == UnitState::Leased).await;
    bench
        .change_job(JobEvent::Cancelled {
            by: "local".to_owned(),
        })
        .await;
    fake.until_stopped().await;
    let unit = bench.until(0, |it| it.state.is_ended()).await;
    worker.end().await;
    assert_eq!((unit.state, unit.outputs.len()), (UnitState::Cancelled, 0));
    assert!(bench.said_ended().await.is_empty());
}

/// Heartbeats are far apart here, so only the look before the commit can see the cancel.
#[tokio::test]
async fn a_cancel_just_before_the_commit_is_seen() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::CancelThenSucceed), |it| {
        it.timing = Timing::default();
    });
    let unit = bench.until(0, |it| it.state.is_ended()).await;
    worker.end().await;
    assert_eq!(unit.state, UnitState::Cancelled);
}

#[tokio::test]
async fn a_stolen_lease_never_commits() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let fake = Fake::new(Deed::LoseThenSucceed);
    let worker = bench.start(&fake, |it| it.timing = Timing::default());
    let thief = bench.until(0, |it| it.attempt == 2).await;
    worker.end().await;
    let unit = bench.unit(0).await.unwrap();
    assert_eq!(
        (unit.state, unit.attempt, unit.owner),
        (UnitState::Leased, 2, thief.owner)
    );
    assert!(bench.said_ended().await.is_empty());
}

#[tokio::test]
async fn a_stolen_lease_stops_the_run_at_the_next_beat() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let fake = Fake::new(Deed::UntilStopped);
    let worker = bench.start(&fake, |_| {});
    bench.until(0, |it| it.state == UnitState::Leased).await;
    bench.steal(0).await;
    fake.until_stopped().await;
    worker.end().await;
    assert_eq!(
        bench.unit(0).await.unwrap().state,
        UnitState::Leased,
        "the thief's"
    );
}

#[tokio::test]
async fn shutdown_hands_the_unit_back_and_another_worker_ends_it() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let fake = Fake::new(Deed::UntilStopped);
    let worker = bench.start(&fake, |_| {});
    bench.until(0, |it| it.state == UnitState::Leased).await;
    worker.end().await;
    let unit = bench.unit(0).await.unwrap();
    assert_eq!(
        (unit.state, unit.failures, unit.attempts[0].how.as_str()),
        (UnitState::Waiting, 0, "handed back")
    );
    assert_eq!(bench.hints_out().await, 1);

    let worker = bench.start(&Fake::new(Deed::Succeed), |_| {});
    assert_eq!(bench.until(0, is_done).await.attempt, 2);
    worker.end().await;
}

/// The algorithm neither awaits nor asks: the unit goes back without it.
#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Compute(Duration::from_secs(4))), |it| {
        it.grace = Duration::from_millis(100);
    });
    bench.until(0, |it| it.state == UnitState::Leased).await;
    let began = std::time::Instant::now();
    worker.end().await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(bench.unit(0).await.unwrap().state, UnitState::Waiting);
}

#[tokio::test]
async fn three_errors_end_a_unit_and_one_for_good_ends_it_at_once() {
    for (deed, n_attempts, text) in [
        (Deed::Fail, 3, "could not reach the moon: "),
        (Deed::FailForGood, 1, "no such model: "),
        (Deed::StopUnasked, 3, "stopped without being asked"),
    ] {
        let bench = Bench::new(1).await;
        bench.hint(&[0]).await;
        let fake = Fake::new(deed);
        let worker = bench.start(&fake, |_| {});
        let unit = bench.until(0, |it| it.state.is_ended()).await;
        worker.end().await;
        assert_eq!(
            (unit.state, unit.attempt, fake.n_started()),
            (UnitState::Failed, n_attempts, n_attempts as usize)
        );
        assert!(
            unit.error.as_deref().unwrap().contains(text),
            "{:?}",
            unit.error
        );
        assert_eq!(bench.said_ended().await, [0]);
        let log = ObjectKey::UnitOutput {
            unit: bench.key(0),
            attempt: 1,
            file: "log.txt".to_owned(),
        };
        let log = bench.store.get_bytes(&log).await.unwrap();
        assert!(
            std::str::from_utf8(&log).unwrap().contains(" - ERROR - "),
            "a failed attempt keeps its log"
        );
    }
}

#[tokio::test]
async fn a_panic_fails_its_unit_and_the_worker_goes_on() {
    let bench = Bench::new(2).await;
    bench.hint(&[0, 1]).await;
    let worker = bench.start(&Fake::new(Deed::PanicOnUnit(0)), |_| {});
    bench.until(1, is_done).await;
    let unit = bench.until(0, |it| it.state.is_ended()).await;
    worker.end().await;
    assert_eq!((unit.state, unit.failures), (UnitState::Failed, 3));
    assert!(
        unit.error
            .as_deref()
            .unwrap()
            .contains("the algorithm panicked: "),
        "{:?}",
        unit.error
    );
    assert!(unit.error.unwrap().contains("a poisoned unit"));
    assert_same(bench.said_ended().await, vec![0, 1]);
}

#[tokio::test]
async fn an_idle_worker_finds_forgotten_units_without_hints() {
    let bench = Bench::new(2).await;
    bench.claim_and_die(0).await;
    let worker = bench.start(&Fake::new(Deed::Succeed), |_| {});
    let taken_over = bench.until(0, is_done).await;
    assert_eq!((taken_over.attempt, taken_over.failures), (2, 1));
    assert_eq!(
        bench.until(1, is_done).await.attempt,
        1,
        "never claimed, never hinted"
    );
    worker.end().await;
    // Nobody collects here, so the sweep says it again and again.
    let said: BTreeSet<u32> = bench.said_ended().await.into_iter().collect();
    assert_eq!(said, BTreeSet::from([0, 1]));
}

#[tokio::test]
async fn an_unreadable_hint_ends_among_the_dead_letters() {
    let bench = Bench::new(1).await;
    let queue = QueueName::from_static("units-cpu");
    bench
        .queue
        .send(&queue, &[Outgoing::now("{]")])
        .await
        .unwrap();
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Succeed), |_| {});
    bench.until(0, is_done).await;
    while bench.hints_out().await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.end().await;
    let dead = bench.queue.dead(&queue, 10).await.unwrap();
    assert_eq!(
        dead.iter().map(|it| it.body.as_str()).collect::<Vec<_>>(),
        ["{]"]
    );
}
