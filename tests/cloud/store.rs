//! The suite of the store over S3, as it is and behind the fault layer.

use std::sync::Arc;

use cellmill_store::fault::{FaultyStore, Kind, Moment, Operation, Rule, Which};
use cellmill_store::{Put, Store, Written, s3, suite};

async fn bucket() -> Store {
    super::check_endpoint();
    let name = super::fresh_name("store");
    s3::create_bucket(&name).await.expect("the bucket is made");
    Store::open(&format!("s3://{name}"))
        .await
        .expect("the bucket opens")
}

macro_rules! on_s3 {
    ($($claim:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $claim() {
            suite::$claim(&bucket().await).await;
        }
    )+};
}

cellmill_store::for_every_claim!(on_s3);

/// Answers lost after the write, requests lost before it, and conditional writes told "no" though they were done.
fn weather() -> Vec<Rule> {
    let rule = |operation, moment, probability, kind| Rule {
        operation,
        prefix: String::new(),
        moment,
        which: Which::Some(probability),
        kind,
    };
    [Operation::Create, Operation::Update, Operation::Overwrite]
        .into_iter()
        .flat_map(|operation| {
            [
                rule(operation, Moment::After, 0.2, Kind::Unavailable),
                rule(operation, Moment::Before, 0.05, Kind::Unavailable),
            ]
        })
        .chain([
            rule(Operation::Create, Moment::After, 0.1, Kind::Precondition),
            rule(Operation::Update, Moment::After, 0.1, Kind::Precondition),
        ])
        .collect()
}

macro_rules! on_s3_in_bad_weather {
    ($($name:ident: $claim:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let mut faults = None;
            let store = bucket().await.wrapped(|inner| {
                let faulty = FaultyStore::new(inner, 7, weather());
                faults = Some(faulty.faults());
                Arc::new(faulty)
            });
            suite::$claim(&store).await;
            assert!(faults.unwrap().injected() > 0, "no fault was injected");
        }
    )+};
}

on_s3_in_bad_weather! {
    a_create_has_one_winner_though_answers_are_lost: a_create_has_one_winner,
    a_swap_counts_once_though_answers_are_lost: a_swap_counts_once,
    names_come_back_though_answers_are_lost: names_come_back_byte_for_byte,
}

/// Two writers of one big object: one wins, the other is told, and what lies there is whole.
#[tokio::test]
async fn a_big_object_is_created_once() {
    let store = bucket().await;
    let write = async |byte: u8, put: Put| {
        let mut writer = store.writer("big", put).unwrap();
        writer.write(&vec![byte; 20 << 20]).await.unwrap();
        writer.finish().await
    };
    let (a, b) = tokio::join!(write(1, Put::Create), write(2, Put::Create));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    let stored = store.get_bytes("big").await.unwrap();
    let winner = if a.is_ok() { 1 } else { 2 };
    assert!(stored.len() == 20 << 20 && stored.iter().all(|it| *it == winner));
    assert_eq!(write(3, Put::IfSame).await.unwrap(), Written::AlreadyThere);
    assert_eq!(write(4, Put::Overwrite).await.unwrap(), Written::New);
    assert_eq!(store.get_range("big", 0..1).await.unwrap()[..], [4]);
}

/// The store's time is the server's, never ahead of it, and runs on between answers.
#[tokio::test]
async fn now_is_the_time_of_the_stamps() {
    let store = bucket().await;
    store.put_bytes("x", vec![1], Put::Create).await.unwrap();
    let stamp = store.head("x").await.unwrap().unwrap().last_modified;
    let age = store.now() - stamp;
    let seconds = age.num_milliseconds() as f64 / 1000.0;
    assert!((-1.0..5.0).contains(&seconds), "{seconds} s");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_at_the_start() {
    super::check_endpoint();
    let opened = Store::open("s3://no-such-bucket-of-ours").await;
    let error = opened.unwrap_err();
    assert!(
        error.to_string().contains("s3://no-such-bucket-of-ours"),
        "{error}"
    );
}
