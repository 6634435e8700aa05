//! The same with a store whose answers get lost, or that is away.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::unit::UnitState;
use cellmill_store::fault::{FaultyStore, Kind, Moment, Operation, Rule, Which};

use super::support::{Bench, Deed, Fake, Worker, assert_same};

fn rule(operation: Operation, moment: Moment, probability: f64) -> Rule {
    Rule {
        operation,
        prefix: "units/".to_owned(),
        moment,
        which: Which::Some(probability),
        kind: Kind::Unavailable,
    }
}

#[tokio::test]
async fn lost_answers_make_no_second_attempt_and_lose_no_commit() {
    let bench = Bench::new(12).await;
    bench.hint(&(0..12).collect::<Vec<_>>()).await;
    let operations = [Operation::Create, Operation::Update, Operation::Overwrite];
    let rules = operations.map(|it| rule(it, Moment::After, 0.4));
    let mut faults = None;
    let store = bench.store.wrapped(|objects| {
        let faulty = FaultyStore::new(objects, 7, rules);
        faults = Some(faulty.faults());
        Arc::new(faulty)
    });
    let fake = Fake::new(Deed::Succeed);
    let worker = Worker::start(store, Arc::clone(&bench.queue), &fake, |it| {
        it.concurrency = 3;
    });
    for unit in 0..12 {
        let unit = bench.until(unit, |it| it.state.is_ended()).await;
        assert_eq!(
            (unit.state, unit.attempt, unit.failures),
            (UnitState::Done, 1, 0)
        );
        assert_eq!(unit.outputs.len(), 2);
    }
    worker.end().await;
    assert_eq!(fake.n_started(), 12);
    assert_same(bench.said_ended().await, (0..12).collect());
    assert!(faults.unwrap().injected() > 5);
}

#[tokio::test]
async fn a_worker_whose_heartbeats_do_not_arrive_stops_itself() {
    let bench = Bench::new(1).await;
    bench.hint(&[0]).await;
    let rules = [rule(Operation::Update, Moment::Before, 1.0)];
    let store = bench
        .store
        .wrapped(|objects| Arc::new(FaultyStore::new(objects, 7, rules)));
    let fake = Fake::new(Deed::UntilStopped);
    let worker = Worker::start(store, Arc::clone(&bench.queue), &fake, |_| {});
    bench.until(0, |it| it.state == UnitState::Leased).await;
    let began = std::time::Instant::now();
    fake.until_stopped().await;
    assert!(
        began.elapsed() < Duration::from_millis(980),
        "within its lease, not after {:?}",
        began.elapsed()
    );
    worker.end().await;
    assert_eq!(
        bench.unit(0).await.unwrap().state,
        UnitState::Leased,
        "left to whoever takes it over"
    );
}
