//! What only the folder home can be asked: other processes, `kill -9`, links, names on disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path as FsPath;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion};
use tempfile::TempDir;

use super::FolderStore;
use crate::suite::Counter;
use crate::{Decision, Error, Put, Store};

/// Tells a child, which runs one test of this binary, which folder to work on.
const CHILD_ROOT: &str = "CELLMILL_STORE_TEST_ROOT";

/// Runs the test `name` of this module in another process, over `root`.
fn child(name: &str, root: &FsPath) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("folder::tests::{name}"), "--exact", "--nocapture"])
        .env(CHILD_ROOT, root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The store that a child works on, `None` in an ordinary run of the tests.
async fn store_of_child() -> Option<Store> {
    let root = std::env::var_os(CHILD_ROOT)?;
    Some(Store::open_folder(root.as_ref()).await.unwrap())
}

async fn folder() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_folder(folder.path()).await.unwrap();
    (folder, store)
}

fn one_more(counter: Option<&Counter>) -> Decision<Counter> {
    let mut next = counter.cloned().unwrap_or_default();
    next.count += 1;
    Decision::Write(next)
}

#[tokio::test]
async fn child_counts_up() {
    let Some(store) = store_of_child().await else {
        return;
    };
    for _ in 0..50 {
        while let Err(error) = store.swap("counter.json", one_more).await {
            assert!(error.is_transient(), "{error:?}");
        }
    }
}

#[tokio::test]
async fn processes_swap_one_document_without_losing_a_count() {
    let (folder, store) = folder().await;
    let children: Vec<_> = (0..4)
        .map(|_| child("child_counts_up", folder.path()))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let counter = store
        .read::<Counter>("counter.json")
        .await
        .unwrap()
        .unwrap()
        .value;
    assert_eq!((counter.count, counter.stamp.rev), (200, 200));
}

#[tokio::test]
async fn child_creates() {
    let Some(store) = store_of_child().await else {
        return;
    };
    let owner = std::process::id().to_string();
    for number in 0..50 {
        let counter = Counter {
            owner: owner.clone(),
            ..Counter::default()
        };
        if store
            .create(&format!("race/{number:02}.json"), counter)
            .await
            .unwrap()
            .is_ours()
        {
            let won = format!("won/{number:02}-{owner}");
            store.put_bytes(&won, "", Put::Create).await.unwrap();
        }
    }
}

#[tokio::test]
async fn of_processes_that_create_one_document_one_wins() {
    let (folder, store) = folder().await;
    let children: Vec<_> = (0..4)
        .map(|_| child("child_creates", folder.path()))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let won: Vec<_> = store.list("won").try_collect().await.unwrap();
    let won: Vec<_> = won.into_iter().map(|it| it.key).collect();
    let mut expected = Vec::new();
    for number in 0..50 {
        let stored = store
            .read::<Counter>(&format!("race/{number:02}.json"))
            .await
            .unwrap();
        expected.push(format!("won/{number:02}-{}", stored.unwrap().value.owner));
    }
    assert_eq!(won, expected);
}

/// Large enough to be written in several steps.
const TORN: usize = 3 << 20;

#[tokio::test]
async fn child_writes_for_ever() {
    let Some(store) = store_of_child().await else {
        return;
    };
    for round in 0_u8.. {
        let byte = [round % 250];
        store
            .put_bytes("same.bin", byte.repeat(TORN), Put::Overwrite)
            .await
            .unwrap();
        store
            .put_bytes(&format!("new/{round}.bin"), byte.repeat(TORN), Put::IfSame)
            .await
            .unwrap();
        let mut writer = store.writer("parts.bin", Put::Overwrite).unwrap();
        for _ in 0..3 {
            writer.write(&byte.repeat(TORN)).await.unwrap();
        }
        writer.finish().await.unwrap();
        let swapped = store.swap("counter.json", |counter: Option<&Counter>| {
            let mut next = counter.cloned().unwrap_or_default();
            next.count += 1;
            next.owner = "x".repeat(usize::from(round) * 1000);
            Decision::Write(next)
        });
        swapped.await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_leaves_whole_objects_and_no_lock() {
    let (folder, store) = folder().await;
    for round in 0..12_u32 {
        let mut child = child("child_writes_for_ever", folder.path());
        // Once it is surely at work, at ever another moment of it.
        let is_working = async || {
            let head = store.head("same.bin").await.unwrap();
            head.is_some_and(|it| (store.now() - it.last_modified).num_milliseconds() < 100)
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_working().await {
            assert!(Instant::now() < deadline, "the child does not write");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(u64::from(round * 37 % 150))).await;
        child.kill().unwrap();
        child.wait().unwrap();

        for object in store.list("").try_collect::<Vec<_>>().await.unwrap() {
            let bytes = store.get_bytes(&object.key).await.unwrap();
            if object.key == "counter.json" {
                serde_json::from_slice::<Counter>(&bytes).unwrap();
            } else {
                let expected = if object.key == "parts.bin" {
                    3 * TORN
                } else {
                    TORN
                };
                assert!(
                    bytes.len() == expected && bytes.iter().all(|it| *it == bytes[0]),
                    "{} is torn",
                    object.key
                );
            }
        }
        // A lock that outlived its holder would hang here.
        let swapped =
            tokio::time::timeout(Duration::from_secs(5), store.swap("counter.json", one_more));
        assert!(swapped.await.expect("the lock is free").unwrap().changed);
    }
}

#[tokio::test]
async fn files_are_named_by_the_bytes_of_their_keys() {
    let (folder, store) = folder().await;
    for key in ["img/病例 1/a#1 100%.png", ".hidden/~x", "e\u{301}"] {
        store
            .put_bytes(key, key.to_owned(), Put::Create)
            .await
            .unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(key)).unwrap(), key);
    }
}

#[tokio::test]
async fn links_are_neither_shown_nor_followed() {
    let (folder, store) = folder().await;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.json"), "{}").unwrap();
    store
        .put_bytes("img/real.png", "x", Put::Create)
        .await
        .unwrap();
    symlink(outside.path(), folder.path().join("img/out")).unwrap();
    symlink(
        outside.path().join("secret.json"),
        folder.path().join("img/link.json"),
    )
    .unwrap();
    symlink(folder.path().join("img"), folder.path().join("loop")).unwrap();

    for key in ["img/out/secret.json", "img/link.json", "loop/real.png"] {
        assert!(
            store.get_bytes(key).await.unwrap_err().is_not_found(),
            "{key}"
        );
        store.delete(key).await.unwrap();
        for put in [Put::Create, Put::Overwrite] {
            let refused = store.put_bytes(key, "y", put).await;
            assert!(
                matches!(refused, Err(Error::Denied { .. })),
                "{key}: {refused:?}"
            );
        }
    }
    let new = store.put_bytes("img/out/new.png", "y", Put::Create).await;
    assert!(matches!(new, Err(Error::Denied { .. })), "{new:?}");
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    assert_eq!(
        listed.into_iter().map(|it| it.key).collect::<Vec<_>>(),
        ["img/real.png"]
    );
    assert!(store.list("loop").try_next().await.unwrap().is_none());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(
        fs::read_to_string(outside.path().join("secret.json")).unwrap(),
        "{}"
    );
}

#[tokio::test]
async fn our_own_files_are_out_of_reach() {
    let (_folder, store) = folder().await;
    for key in [".cellmill/secret", ".cellmill/locks/00", ".Cellmill/x"] {
        let put = store.put_bytes(key, "x", Put::Overwrite).await;
        assert!(matches!(put, Err(Error::Denied { .. })), "{key}: {put:?}");
        let got = store.get_bytes(key).await;
        assert!(matches!(got, Err(Error::Denied { .. })), "{key}: {got:?}");
        assert!(store.delete(key).await.is_err(), "{key}");
    }
    for prefix in ["", ".cellmill", ".cellmill/locks"] {
        assert_eq!(store.list(prefix).try_next().await.unwrap(), None);
        assert_eq!(store.list_dirs(prefix).await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn a_key_that_a_folder_cannot_hold_is_refused_for_good() {
    let (_folder, store) = folder().await;
    store.put_bytes("a/b", "x", Put::Create).await.unwrap();
    let long = "n".repeat(256);
    for key in ["a", "a/b/c", &long] {
        for put in [Put::Create, Put::Overwrite] {
            let refused = store.put_bytes(key, "x", put).await;
            assert!(
                matches!(refused, Err(Error::Refused { .. })),
                "{key}: {refused:?}"
            );
        }
    }
    assert!(store.get_bytes("a").await.unwrap_err().is_not_found());
    assert!(store.get_bytes("a/b/c").await.unwrap_err().is_not_found());
    store
        .put_bytes(&"n".repeat(255), "x", Put::Create)
        .await
        .unwrap();
}

#[tokio::test]
async fn only_documents_are_updated() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).await.unwrap();
    let update = async |key: &str, etag: Option<String>| {
        let mode = PutMode::Update(UpdateVersion {
            e_tag: etag,
            version: None,
        });
        store
            .put_opts(
                &Path::parse(key).unwrap(),
                "new".into(),
                PutOptions::from(mode),
            )
            .await
    };
    for (key, is_document) in [("x.json", true), ("x.label", true), ("x.png", false)] {
        let put = store
            .put(&Path::parse(key).unwrap(), "old".into())
            .await
            .unwrap();
        let absent = update("none.json", put.e_tag.clone()).await;
        assert!(
            matches!(absent, Err(object_store::Error::NotFound { .. })),
            "{absent:?}"
        );
        let updated = update(key, put.e_tag.clone()).await;
        assert_eq!(updated.is_ok(), is_document, "{key}: {updated:?}");
        if is_document {
            let late = update(key, put.e_tag).await;
            assert!(
                matches!(late, Err(object_store::Error::Precondition { .. })),
                "{late:?}"
            );
        } else {
            assert!(matches!(
                updated,
                Err(object_store::Error::NotSupported { .. })
            ));
        }
    }
}

#[tokio::test]
async fn copies_and_renames_keep_the_bytes_and_refuse_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).await.unwrap();
    let path = |key: &str| Path::parse(key).unwrap();
    store.put(&path("a.json"), "a".into()).await.unwrap();
    store
        .copy(&path("a.json"), &path("new/b.json"))
        .await
        .unwrap();
    let taken = store
        .copy_if_not_exists(&path("a.json"), &path("new/b.json"))
        .await;
    assert!(
        matches!(taken, Err(object_store::Error::AlreadyExists { .. })),
        "{taken:?}"
    );
    let taken = store
        .rename_if_not_exists(&path("a.json"), &path("new/b.json"))
        .await;
    assert!(
        matches!(taken, Err(object_store::Error::AlreadyExists { .. })),
        "{taken:?}"
    );
    store
        .rename(&path("a.json"), &path("far/c.json"))
        .await
        .unwrap();
    store
        .rename_if_not_exists(&path("new/b.json"), &path("d.json"))
        .await
        .unwrap();
    let listed: Vec<_> = store
        .list(None)
        .map_ok(|it| it.location.to_string())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed, ["d.json", "far/c.json"]);
    for key in listed {
        assert_eq!(
            store.get(&path(&key)).await.unwrap().bytes().await.unwrap(),
            "a"
        );
    }
    let gone = store.rename(&path("a.json"), &path("e.json")).await;
    assert!(
        matches!(gone, Err(object_store::Error::NotFound { .. })),
        "{gone:?}"
    );
}

/// A person who tidies up empty folders must not make a put fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_that_vanish_while_a_put_makes_them_are_made_again() {
    let (folder, store) = folder().await;
    let root = folder.path().to_owned();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let tidy = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_micros(200)) == Err(RecvTimeoutError::Timeout) {
            let _ = fs::remove_dir(root.join("deep/er"));
            let _ = fs::remove_dir(root.join("deep"));
        }
    });
    for number in 0..100 {
        let key = format!("deep/er/{number}");
        store.put_bytes(&key, "x", Put::Create).await.unwrap();
        store.delete(&key).await.unwrap();
    }
    drop(stop);
    tidy.join().unwrap();
}
