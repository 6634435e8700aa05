//! The trigger graph that `core` declares is the one that the functions have.

use std::sync::Arc;

use cellmill_core::disposition::Disposition;
use cellmill_core::events::{self, ObjectCreated};
use cellmill_core::keys::{ImageRoot, Prefix};
use cellmill_core::points::CsvLimits;
use cellmill_core::triggers::{Function, TRIGGERS, WRITES, longest_chain};
use cellmill_fn_ingest::Ingest;
use cellmill_fn_label::Label;
use cellmill_queue::{MemoryQueue, Settings};
use cellmill_store::{Put, Store};
use cellmill_vision::{DecodeBudget, Limits, RgbImage, encode_png};
use futures::TryStreamExt as _;

const IMAGE: &str = "img/b/c/Images/a.png";
const POINTS: &str = "csv/b/2019-7-22/c/a.csv";

#[test]
fn no_event_chain_loops() {
    assert_eq!(longest_chain(TRIGGERS, WRITES), Ok(2));
}

#[test]
fn triggers_are_the_prefixes_of_images_and_points() {
    let keys = [
        Prefix::Images(ImageRoot::Hospital),
        Prefix::Images(ImageRoot::Upload),
        Prefix::Points,
    ];
    let declared: Vec<&str> = TRIGGERS.iter().map(|it| it.prefix).collect();
    assert_eq!(declared, keys.map(|it| it.to_path()));
}

#[tokio::test]
async fn functions_write_only_what_they_declare() {
    let store = Store::memory();
    store
        .put_bytes(
            IMAGE,
            encode_png(&RgbImage::filled(64, 48, [9, 9, 9])),
            Put::Create,
        )
        .await
        .unwrap();
    store
        .put_bytes(POINTS, "X,Y,Type\n10,10,7\n".as_bytes(), Put::Create)
        .await
        .unwrap();

    let ingest = Ingest {
        store: store.clone(),
        queue: Arc::new(MemoryQueue::new(Settings::default())),
        limits: Limits::default(),
        budget: DecodeBudget::new(DecodeBudget::DEFAULT_BYTES),
    };
    let before = keys(&store).await;
    assert_eq!(ingest.handle(&created(IMAGE)).await, Disposition::Done);
    let written = check(Function::Ingest, &before, &keys(&store).await);
    assert!(written >= 4, "record, label, thumbnail and stem: {written}");

    let before = keys(&store).await;
    let label = Label::new(store.clone(), CsvLimits::default());
    assert_eq!(label.handle(&created(POINTS)).await, Disposition::Done);
    let written = check(Function::Label, &before, &keys(&store).await);
    assert!(written >= 1, "the record of the CSV");
}

fn check(function: Function, before: &[String], after: &[String]) -> usize {
    let declared = WRITES
        .iter()
        .find(|it| it.function == function)
        .expect("every function declares what it writes");
    let new: Vec<&String> = after.iter().filter(|it| !before.contains(it)).collect();
    for key in &new {
        let is_declared = declared
            .prefixes
            .iter()
            .any(|prefix| key.starts_with(prefix));
        assert!(
            is_declared,
            "{function:?} wrote `{key}`, which it does not declare"
        );
    }
    new.len()
}

async fn keys(store: &Store) -> Vec<String> {
    let listed: Vec<_> = store.list("").try_collect().await.expect("memory lists");
    listed.into_iter().map(|it| it.key).collect()
}

fn created(key: &str) -> String {
    events::print(&ObjectCreated {
        key: key.to_owned(),
        etag: None,
        size: None,
        version_id: None,
        sequencer: None,
    })
}
