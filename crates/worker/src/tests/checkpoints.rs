//! Going on from checkpoints, giving way to urgent work, ending with the best so far.

use std::time::Duration;

use cellmill_core::job::{JobEvent, JobState};
use cellmill_core::keys::{JobKind, ObjectKey};
use cellmill_core::unit::{UnitRecord, UnitState};
use cellmill_store::Put;
use futures::TryStreamExt as _;

use super::support::{Bench, Deed, Fake};

/// Longer than any test waits.
const FOR_EVER: u32 = 100_000;

fn stop() -> JobEvent {
    let by = "local".to_owned();
    JobEvent::Stopped { by }
}

async fn checkpoint_files(bench: &Bench) -> Vec<String> {
    let listed = bench.store.list(&format!("units/{}/", bench.dir));
    let listed: Vec<_> = listed.try_collect().await.unwrap();
    let keys = listed.into_iter().map(|it| it.key);
    keys.filter(|it| it.contains("/checkpoint-")).collect()
}

#[tokio::test]
async fn the_last_two_and_the_best_are_named_and_the_others_cleared_away() {
    let bench = Bench::training().await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Learn(FOR_EVER)), |_| {});
    let is_far = |it: &UnitRecord| {
        let last = it.checkpoints.last();
        last.is_some_and(|it| it.key.contains("checkpoint-00005"))
    };
    bench.until(0, is_far).await;
    worker.end().await;
    let unit = bench.unit(0).await.unwrap();
    assert_eq!(
        (unit.state, unit.failures, unit.has_progressed),
        (UnitState::Waiting, 0, true)
    );
    let named: Vec<String> = unit.checkpoints.iter().map(|it| it.key.clone()).collect();
    let left = checkpoint_files(&bench).await;
    // What the last beats have stopped naming may still lie there: the janitor finds it.
    assert!(
        named.iter().all(|it| left.contains(it)),
        "{named:?} {left:?}"
    );
    assert!((2..=5).contains(&left.len()), "{left:?}");
}

#[tokio::test]
async fn a_unit_that_goes_back_takes_its_checkpoint_along_and_goes_on_from_it() {
    let bench = Bench::training().await;
    bench.hint(&[0]).await;
    let steps = 40;
    let first = bench.start(&Fake::new(Deed::Learn(steps)), |_| {});
    bench.until(0, |it| it.percent > 30).await;
    first.end().await;
    let back = bench.unit(0).await.unwrap();
    assert_eq!(back.attempts[0].how, "handed back");
    let saved = back.checkpoints.last().unwrap().percent;
    assert_eq!(
        saved, back.percent,
        "the one that was written on the way out"
    );

    let second = bench.start(&Fake::new(Deed::Learn(steps)), |_| {});
    let done = bench.until(0, |it| it.state == UnitState::Done).await;
    second.end().await;
    let resumed: Vec<_> = done.attempts.iter().map(|it| it.resumed_percent).collect();
    assert_eq!(resumed, [None, Some(saved)]);
}

#[tokio::test]
async fn a_training_gives_way_to_urgent_work_at_a_checkpoint() {
    let bench = Bench::training().await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Learn(FOR_EVER)), |_| {});
    bench.until(0, |it| !it.checkpoints.is_empty()).await;
    let urgent = ObjectKey::Unit(bench.urgent(JobKind::Data).await);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let unit = bench.store.read::<UnitRecord>(&urgent).await.unwrap();
        if unit.is_some_and(|it| it.value.state == UnitState::Done) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "never done");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let goes_on = |it: &UnitRecord| it.attempt == 2 && it.attempts[1].resumed_percent.is_some();
    let again = bench.until(0, goes_on).await;
    worker.end().await;
    assert_eq!(again.attempts[0].how, "preempted by urgent work");
    assert_eq!(again.failures, 0);
}

#[tokio::test]
async fn a_stopped_training_ends_with_the_best_so_far() {
    let bench = Bench::training().await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Learn(FOR_EVER)), |_| {});
    bench.until(0, |it| !it.checkpoints.is_empty()).await;
    bench.change_job(stop()).await;
    bench.until(0, |it| it.state == UnitState::Done).await;
    worker.end().await;
    assert_eq!(
        bench.job().await.state,
        JobState::Running,
        "until collect has counted it"
    );
}

#[tokio::test]
async fn a_stop_before_there_is_anything_cancels_the_job() {
    let bench = Bench::training().await;
    bench.change_job(JobEvent::WorkStarted).await;
    bench.change_job(stop()).await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Learn(FOR_EVER)), |_| {});
    bench.until(0, |it| it.state == UnitState::Cancelled).await;
    worker.end().await;
    let job = bench.job().await;
    assert_eq!(job.state, JobState::Cancelled);
    let last = &job.history[job.history.len() - 2].what;
    assert!(last.contains("nothing to keep"), "{last}");
}

#[tokio::test]
async fn a_second_slot_leaves_the_device_to_the_training_and_calls_it_for_urgent_ones() {
    let bench = Bench::training().await;
    bench.hint(&[0]).await;
    let worker = bench.start(&Fake::new(Deed::Learn(FOR_EVER)), |it| it.concurrency = 2);
    bench.until(0, |it| !it.checkpoints.is_empty()).await;
    let urgent = ObjectKey::Unit(bench.urgent(JobKind::Train).await);
    let first = bench.until(0, |it| it.state == UnitState::Waiting).await;
    assert_eq!(first.attempts[0].how, "preempted by urgent work");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let unit = bench.store.read::<UnitRecord>(&urgent).await.unwrap();
        if unit.is_some_and(|it| !it.value.checkpoints.is_empty()) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "never begun");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // While it has the device nobody takes up what would only wait for it.
    let still = bench.unit(0).await.unwrap();
    assert_eq!((still.attempt, still.state), (1, UnitState::Waiting));
    worker.end().await;
}

#[tokio::test]
async fn a_damaged_checkpoint_is_not_gone_on_from() {
    let bench = Bench::training().await;
    bench.hint(&[0]).await;
    let first = bench.start(&Fake::new(Deed::Learn(FOR_EVER)), |_| {});
    bench.until(0, |it| it.checkpoints.len() >= 2).await;
    first.end().await;
    let named = bench.unit(0).await.unwrap().checkpoints;
    let (newest, before) = (&named[named.len() - 1], &named[named.len() - 2]);
    let put = bench.store.put_bytes(&newest.key, "99999", Put::Overwrite);
    put.await.unwrap();
    let second = bench.start(&Fake::new(Deed::Learn(FOR_EVER)), |_| {});
    let goes_on = |it: &UnitRecord| it.attempt == 2 && it.attempts[1].resumed_percent.is_some();
    let resumed = bench.until(0, goes_on).await;
    second.end().await;
    assert_eq!(resumed.attempts[1].resumed_percent, Some(before.percent));
    assert!(resumed.percent < 90, "{}", resumed.percent);
}
