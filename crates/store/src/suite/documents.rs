//! Create, swap, replace.

use std::time::Duration;

use cellmill_core::document::Stamp;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{Created, Decision, Error, Fresh, Put, Replaced, Store};

/// The document of the suite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// What every document carries.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// How often it was counted up.
    pub count: u64,
    /// Who wrote it.
    #[serde(default)]
    pub owner: String,
}

cellmill_core::impl_document!(Counter);

fn owned_by(owner: &str) -> Counter {
    Counter {
        owner: owner.to_string(),
        ..Counter::default()
    }
}

fn one_more(counter: Option<&Counter>) -> Decision<Counter> {
    let mut next = counter.cloned().unwrap_or_default();
    next.count += 1;
    Decision::Write(next)
}

/// 16 tasks create each of 20 documents at once: one wins, and the others see the winner's. Holds with lost answers.
pub async fn a_create_has_one_winner(store: &Store) {
    for number in 0..20 {
        let key = format!("race/{number:02}.json");
        let tasks = (0..16).map(|owner| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.create(&key, owned_by(&owner.to_string())).await })
        });
        let mut winners = Vec::new();
        let mut seen = Vec::new();
        for (owner, result) in join_all(tasks).await.into_iter().enumerate() {
            let created = result
                .expect("the task ends")
                .expect("the create is answered");
            if created.is_ours() {
                winners.push(owner.to_string());
            }
            seen.push(created.into_stored().value.owner);
        }
        let stored = store.read::<Counter>(&key).await.expect("readable");
        let stored = stored.expect("created").value;
        assert_eq!(winners.len(), 1, "one winner of {key}: {winners:?}");
        assert_eq!(winners[0], stored.owner);
        assert!(seen.iter().all(|owner| *owner == stored.owner), "{seen:?}");
        assert_eq!(stored.stamp.rev, 1);
    }
}

/// 8 tasks count up 15 times each: 120, neither lost nor double. Holds with lost answers.
pub async fn a_swap_counts_once(store: &Store) {
    let tasks = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..15 {
                swap_patiently(&store, "counter.json").await;
            }
        })
    });
    for task in join_all(tasks).await {
        task.expect("the task ends");
    }
    let counter = store
        .read::<Counter>("counter.json")
        .await
        .expect("readable");
    let counter = counter.expect("counted").value;
    assert_eq!(counter.count, 120);
    assert_eq!(counter.stamp.rev, 120);
}

/// Counts up once; a swap that gave up in the crowd has not counted, and is asked again.
async fn swap_patiently(store: &Store, key: &str) {
    loop {
        match store.swap(key, one_more).await {
            Ok(swapped) => {
                assert!(swapped.changed);
                return;
            }
            Err(Error::Conflict { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("swap of {key}: {error:?}"),
        }
    }
}

/// The stamp is the store's business, and keeping writes nothing.
pub async fn a_document_goes_up_by_one_with_every_swap(store: &Store) {
    let created = store
        .create("one.json", owned_by("a"))
        .await
        .expect("created");
    let Created::Won(first) = created else {
        panic!("nobody else creates: {created:?}");
    };
    assert_eq!((first.value.stamp.v, first.value.stamp.rev), (1, 1));

    let kept = store
        .swap::<Counter>("one.json", |_| Decision::Keep)
        .await
        .expect("kept");
    let kept_document = kept.stored.expect("still there");
    assert!(!kept.changed);
    assert_eq!(
        (&kept_document.value, &kept_document.etag),
        (&first.value, &first.etag)
    );

    let swapped = store.swap("one.json", one_more).await.expect("swapped");
    let second = swapped.stored.expect("still there");
    assert!(swapped.changed);
    assert_eq!((second.value.stamp.rev, second.value.count), (2, 1));
    assert_ne!(second.value.stamp.write, first.value.stamp.write);
    let read = store
        .read::<Counter>("one.json")
        .await
        .expect("readable")
        .expect("there");
    assert_eq!((&read.value, &read.etag), (&second.value, &second.etag));

    let unchanged = store
        .read_if_changed::<Counter>("one.json", &second.etag)
        .await;
    assert_eq!(unchanged.expect("readable"), Fresh::NotModified);
    let changed = store
        .read_if_changed::<Counter>("one.json", &first.etag)
        .await;
    assert_eq!(changed.expect("readable"), Fresh::Changed(read));
    let absent = store
        .read_if_changed::<Counter>("none.json", &first.etag)
        .await;
    assert_eq!(absent.expect("readable"), Fresh::Absent);
    let kept = store
        .swap::<Counter>("none.json", |_| Decision::Keep)
        .await
        .expect("kept");
    assert!(kept.stored.is_none() && !kept.changed);
}

/// A heartbeat writes over the version that it knows, and learns who came in between.
pub async fn a_replacement_needs_the_known_version(store: &Store) {
    let first = store
        .create("beat.json", owned_by("a"))
        .await
        .expect("created")
        .into_stored();
    let replaced = store
        .replace("beat.json", &first, owned_by("a again"))
        .await;
    let Replaced::Won(second) = replaced.expect("answered") else {
        panic!("nobody came in between");
    };
    assert_eq!(second.value.stamp.rev, 2);

    let late = store
        .replace("beat.json", &first, owned_by("b"))
        .await
        .expect("answered");
    let Replaced::Lost(Some(stored)) = late else {
        panic!("`a` came in between: {late:?}");
    };
    assert_eq!(stored.value.owner, "a again");

    store.delete("beat.json").await.expect("deleted");
    let gone = store
        .replace("beat.json", &second, owned_by("c"))
        .await
        .expect("answered");
    assert_eq!(gone, Replaced::Lost(None));
    assert_eq!(
        store.read::<Counter>("beat.json").await.expect("readable"),
        None
    );
}

/// What is no document, or one of a later program, is never written over.
pub async fn strange_documents_are_errors(store: &Store) {
    store
        .put_bytes("bad.json", "{", Put::Create)
        .await
        .expect("stored");
    let read = store.read::<Counter>("bad.json").await;
    assert!(matches!(read, Err(Error::Malformed { .. })), "{read:?}");
    let swapped = store.swap("bad.json", one_more).await;
    assert!(
        matches!(swapped, Err(Error::Malformed { .. })),
        "{swapped:?}"
    );

    let later = r#"{"v":9,"rev":1,"write":"x","count":1,"new":true}"#;
    store
        .put_bytes("later.json", later, Put::Create)
        .await
        .expect("stored");
    let swapped = store.swap("later.json", one_more).await;
    assert!(
        matches!(
            swapped,
            Err(Error::TooNew {
                found: 9,
                known: 1,
                ..
            })
        ),
        "{swapped:?}"
    );
    assert_eq!(store.get_bytes("later.json").await.expect("there"), later);

    let refused = store.read::<Counter>("a/../b.json").await;
    assert!(matches!(refused, Err(Error::BadKey { .. })), "{refused:?}");
}
