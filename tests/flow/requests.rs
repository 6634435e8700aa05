//! What an image with its CSV asks of the store, held against the file that `cellmill cost` reckons with.

use std::sync::Arc;

use cellmill_core::points::CsvLimits;
use cellmill_fn_ingest::Ingest;
use cellmill_fn_label::Label;
use cellmill_queue::{MemoryQueue, Settings};
use cellmill_store::fault::{Faults, FaultyStore, Kind, Moment, Operation, Rule, Which};
use cellmill_store::{Put, Store};
use cellmill_vision::{DecodeBudget, Limits};

use crate::lab::{picture, points};

const COUNTS: &str = include_str!("../../crates/cellmill/src/cost/counts.json");
/// AWS charges writes and listings as one kind, reads as the other.
const WRITES: [Operation; 4] = [
    Operation::Overwrite,
    Operation::Create,
    Operation::Update,
    Operation::List,
];
/// Starts of functions and their looks at the class tables, shared by the messages between them.
const MOST_BESIDE: f64 = 0.3;

/// A store that counts, and what it counts.
fn counting() -> (Store, Arc<Faults>) {
    let never = |operation| Rule {
        operation,
        prefix: String::new(),
        moment: Moment::Before,
        which: Which::Nth(u64::MAX),
        kind: Kind::Unavailable,
    };
    let rules = WRITES.into_iter().chain([Operation::Get]).map(never);
    let mut counts = None;
    let store = Store::memory().wrapped(|inner| {
        let counting = FaultyStore::new(inner, 0, rules);
        counts = Some(counting.faults());
        Arc::new(counting)
    });
    (store, counts.expect("it was wrapped"))
}

/// Writes and reads so far.
fn so_far(counts: &Faults) -> [u64; 2] {
    let met = counts.met();
    [met[..WRITES.len()].iter().sum(), met[WRITES.len()]]
}

fn since(counts: &Faults, before: [u64; 2]) -> [u64; 2] {
    let now = so_far(counts);
    [now[0] - before[0], now[1] - before[1]]
}

/// What the file says of one thing of a stage.
fn filed(stage: &str, thing: &str) -> [f64; 2] {
    let counts: serde_json::Value = serde_json::from_str(COUNTS).unwrap();
    let of = &counts["stages"][stage][thing];
    ["s3_put", "s3_get"].map(|it| of[it].as_f64().unwrap())
}

fn assert_as_filed(measured: [u64; 2], filed: [f64; 2]) {
    for (measured, filed) in measured.into_iter().zip(filed) {
        let beside = filed - measured as f64;
        assert!(
            (0.0..=MOST_BESIDE).contains(&beside),
            "{measured} counted, {filed} filed"
        );
    }
}

#[tokio::test]
async fn a_new_image_and_its_points_take_what_the_file_of_counts_says() {
    let (store, counts) = counting();
    let ingest = Ingest {
        store: store.clone(),
        queue: Arc::new(MemoryQueue::new(Settings::default())),
        limits: Limits::default(),
        budget: DecodeBudget::new(DecodeBudget::DEFAULT_BYTES),
    };
    let label = Label::new(store.clone(), CsvLimits::default());
    // The first looks at the class tables, which the next ones find known.
    for name in ["first", "second"] {
        let (image, csv) = (
            format!("img/b/c/Images/{name}.png"),
            format!("csv/b/2019-7-22/c/{name}.csv"),
        );
        store
            .put_bytes(&image, picture(1), Put::Create)
            .await
            .unwrap();
        store.put_bytes(&csv, points(1), Put::Create).await.unwrap();
        let before = so_far(&counts);
        ingest.image(&image.parse().unwrap()).await.unwrap();
        let of_image = since(&counts, before);
        let before = so_far(&counts);
        assert!(label.points(&csv.parse().unwrap()).await.unwrap());
        let of_csv = since(&counts, before);
        if name == "second" {
            assert_as_filed(of_image, filed("ingest", "image"));
            assert_as_filed(of_csv, filed("label", "csv"));
        }
    }
}
