//! The suite over the homes of this crate, as they are and behind the fault layer.

use std::sync::Arc;

use crate::fault::{FaultyStore, Kind, Moment, Operation, Rule, Which};
use crate::{Store, suite};

/// Every home with what must outlive it.
struct Home {
    name: &'static str,
    store: Store,
    _folder: Option<tempfile::TempDir>,
}

async fn homes() -> [Home; 2] {
    let folder = tempfile::tempdir().unwrap();
    let memory = Store::open("memory://").await.unwrap();
    let store = Store::open_folder(folder.path()).await.unwrap();
    [
        Home {
            name: "memory",
            store: memory,
            _folder: None,
        },
        Home {
            name: "folder",
            store,
            _folder: Some(folder),
        },
    ]
}

macro_rules! on_every_home {
    ($($claim:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $claim() {
            for home in homes().await {
                eprintln!("home: {}", home.name);
                suite::$claim(&home.store).await;
            }
        }
    )+};
}

crate::for_every_claim!(on_every_home);

fn lost(operation: Operation, moment: Moment, probability: f64, kind: Kind) -> Rule {
    Rule {
        operation,
        prefix: String::new(),
        moment,
        which: Which::Some(probability),
        kind,
    }
}

/// Answers lost after the write, as timeouts and as the 412 of a repeated request; requests lost before; reads that fail.
fn weather() -> Vec<Rule> {
    let mut rules = Vec::new();
    for operation in [Operation::Create, Operation::Update, Operation::Overwrite] {
        rules.push(lost(operation, Moment::After, 0.2, Kind::Unavailable));
        rules.push(lost(operation, Moment::Before, 0.05, Kind::Unavailable));
    }
    rules.push(lost(
        Operation::Create,
        Moment::After,
        0.1,
        Kind::Precondition,
    ));
    rules.push(lost(
        Operation::Update,
        Moment::After,
        0.1,
        Kind::Precondition,
    ));
    rules
}

// On one thread, so that the memory home, which swaps in microseconds, is not preempted for a hundred swaps
// between a lost answer and its read-back. The folder works on threads of its own.
macro_rules! in_bad_weather {
    ($($name:ident: $claim:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            for (seed, home) in (1..).zip(homes().await) {
                let mut faults = None;
                let store = home.store.wrapped(|inner| {
                    let faulty = FaultyStore::new(inner, seed, weather());
                    faults = Some(faulty.faults());
                    Arc::new(faulty)
                });
                eprintln!("home: {}", home.name);
                suite::$claim(&store).await;
                assert!(faults.unwrap().injected() > 0, "no fault was injected");
            }
        }
    )+};
}

in_bad_weather! {
    a_create_has_one_winner_though_answers_are_lost: a_create_has_one_winner,
    a_swap_counts_once_though_answers_are_lost: a_swap_counts_once,
    names_come_back_though_answers_are_lost: names_come_back_byte_for_byte,
}

/// One fault at each place of each call, one after the other: nothing depends on luck.
#[tokio::test]
async fn a_single_fault_anywhere_in_a_document_s_life_is_not_seen() {
    let operations = [Operation::Create, Operation::Update];
    let moments = [Moment::Before, Moment::After];
    let kinds = [Kind::Unavailable, Kind::Precondition];
    for operation in operations {
        for moment in moments {
            for kind in kinds {
                let store = faulty_once(operation, moment, kind);
                suite::a_document_goes_up_by_one_with_every_swap(&store).await;
                let store = faulty_once(operation, moment, kind);
                suite::a_replacement_needs_the_known_version(&store).await;
            }
        }
    }
}

fn faulty_once(operation: Operation, moment: Moment, kind: Kind) -> Store {
    let rule = Rule {
        which: Which::Nth(1),
        ..lost(operation, moment, 0.0, kind)
    };
    Store::memory().wrapped(|inner| Arc::new(FaultyStore::new(inner, 1, [rule])))
}

#[tokio::test]
async fn a_denied_write_is_not_repeated() {
    let rule = lost(Operation::Create, Moment::Before, 1.0, Kind::Denied);
    let faulty = FaultyStore::new(Arc::new(crate::MemoryStore::new()), 1, [rule]);
    let faults = faulty.faults();
    let store = Store::over(Arc::new(faulty));
    let created = store.create("x.json", suite::Counter::default()).await;
    assert!(
        matches!(created, Err(crate::Error::Denied { .. })),
        "{created:?}"
    );
    assert_eq!(faults.injected(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_never_answers_is_unavailable() {
    let rule = lost(Operation::Update, Moment::Before, 1.0, Kind::Unavailable);
    let store = Store::memory().wrapped(|inner| Arc::new(FaultyStore::new(inner, 1, [rule])));
    store
        .create("x.json", suite::Counter::default())
        .await
        .unwrap();
    let swapped = store
        .swap("x.json", |it: Option<&suite::Counter>| {
            crate::Decision::Write(it.unwrap().clone())
        })
        .await;
    let error = swapped.unwrap_err();
    assert!(
        matches!(error, crate::Error::Unavailable { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
}
