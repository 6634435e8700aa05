//! The watch over a real folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};

use super::Found;
use super::watcher::{STAMP_SLACK, Source, start_as};

const SETTLE: Duration = Duration::from_millis(300);
const PREFIXES: &[&str] = &["img/", "scratch/img/", "csv/"];

fn watch(root: &Path, source: Source) -> Receiver<Found> {
    start_as(root, PREFIXES, SETTLE, source, Duration::from_millis(200)).unwrap()
}

/// What is found until nothing more comes for well over the settling time, with how often.
async fn everything(found: &mut Receiver<Found>) -> BTreeMap<Found, u32> {
    let mut all = BTreeMap::new();
    while let Ok(Some(one)) = timeout(SETTLE * 6, found.recv()).await {
        *all.entry(one).or_default() += 1;
    }
    all
}

fn keys(found: &BTreeMap<Found, u32>) -> Vec<&str> {
    fn key(found: &Found) -> &str {
        match found {
            Found::Key(key) => key.as_str(),
            Found::Unusable { path, .. } => panic!("{} is usable", path.display()),
        }
    }
    found.keys().map(key).collect()
}

/// A small tree as a hospital sends it: nested, with odd names.
fn tree(root: &Path, files: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for number in 0..files {
        let batch = ["b1", "批次 2", "b#3"][number % 3];
        let key = format!("{batch}/case {}/Images/{number} 100%.png", number % 7);
        let path = root.join(&key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("content {number}")).unwrap();
        keys.push(key);
    }
    keys
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

async fn finds_a_copied_tree(source: Source) {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut expected: Vec<_> = tree(other.path(), 200)
        .iter()
        .map(|key| format!("img/{key}"))
        .collect();
    expected.sort_unstable();
    fs::create_dir(root.path().join("img")).unwrap();
    fs::write(root.path().join("img/old.png"), "was there").unwrap();
    // Its stamp must be older than the start by more than stamps are wrong.
    tokio::time::sleep(STAMP_SLACK * 3).await;
    let mut found = watch(root.path(), source);
    copy_tree(other.path(), &root.path().join("img"));
    let found = everything(&mut found).await;
    assert_eq!(keys(&found), expected);
}

#[tokio::test]
async fn a_tree_copied_in_is_found_whole_and_what_was_there_is_not() {
    finds_a_copied_tree(Source::System).await;
}

#[tokio::test]
async fn a_tree_copied_in_is_found_by_polling_too() {
    finds_a_copied_tree(Source::Polling).await;
}

async fn finds_moved_things(source: Source) {
    let root = tempfile::tempdir().unwrap();
    let outside = root.path().join("outside");
    let moved = tree(&outside, 30);
    let mut expected: Vec<_> = moved
        .iter()
        .map(|key| format!("scratch/img/{key}"))
        .collect();
    expected.push("csv/one.csv".to_owned());
    expected.sort_unstable();
    fs::write(root.path().join("one.csv"), "1").unwrap();
    let mut found = watch(root.path(), source);
    fs::create_dir(root.path().join("scratch")).unwrap();
    fs::rename(&outside, root.path().join("scratch/img")).unwrap();
    fs::create_dir(root.path().join("csv")).unwrap();
    fs::rename(root.path().join("one.csv"), root.path().join("csv/one.csv")).unwrap();
    let found = everything(&mut found).await;
    assert_eq!(keys(&found), expected);
}

#[tokio::test]
async fn a_prefix_that_is_moved_or_made_later_is_found_with_what_is_in_it() {
    finds_moved_things(Source::System).await;
}

#[tokio::test]
async fn a_prefix_that_is_moved_or_made_later_is_found_by_polling_too() {
    finds_moved_things(Source::Polling).await;
}

#[tokio::test]
async fn a_file_that_grows_for_long_is_reported_once_and_whole() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("img/b/c/Images");
    fs::create_dir_all(&folder).unwrap();
    let mut found = watch(root.path(), Source::System);
    let path = folder.join("slow.png");
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut file = fs::File::create(path).unwrap();
            for _ in 0..10 {
                file.write_all(&[0; 1000]).unwrap();
                std::thread::sleep(SETTLE / 3);
            }
        }
    });
    let started = Instant::now();
    let first = found.recv().await.unwrap();
    assert_eq!(first, Found::Key("img/b/c/Images/slow.png".to_owned()));
    assert!(started.elapsed() >= SETTLE * 3, "{:?}", started.elapsed());
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
    writer.join().unwrap();
    // Reading it is no news.
    fs::read(&path).unwrap();
    assert!(everything(&mut found).await.is_empty());

    fs::write(&path, "corrected").unwrap();
    assert_eq!(
        keys(&everything(&mut found).await),
        ["img/b/c/Images/slow.png"]
    );
}

#[tokio::test]
async fn what_can_be_no_object_is_reported_with_a_reason() {
    let root = tempfile::tempdir().unwrap();
    let img = root.path().join("img");
    fs::create_dir(&img).unwrap();
    let mut found = watch(root.path(), Source::System);
    fs::write(img.join(std::ffi::OsStr::from_bytes(b"caf\xe9.png")), "x").unwrap();
    fs::write(img.join("two\nlines.png"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", img.join("link.png")).unwrap();
    let found = everything(&mut found).await;
    let reasons: Vec<_> = found
        .keys()
        .map(|it| match it {
            Found::Unusable { reason, .. } => reason.as_str(),
            Found::Key(key) => panic!("{key} is no key"),
        })
        .collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons.contains(&"the name is not UTF-8"), "{reasons:?}");
    assert!(
        reasons.contains(&"a symbolic link, which is not followed"),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn what_is_gone_before_it_settled_is_not_reported() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("img")).unwrap();
    let mut found = watch(root.path(), Source::System);
    fs::write(root.path().join("img/a.part"), "x").unwrap();
    fs::rename(
        root.path().join("img/a.part"),
        root.path().join("img/a.png"),
    )
    .unwrap();
    fs::write(root.path().join("img/b.png"), "x").unwrap();
    fs::remove_file(root.path().join("img/b.png")).unwrap();
    assert_eq!(keys(&everything(&mut found).await), ["img/a.png"]);
}

/// The prefix is emptied and filled again, with its folder: the watch must follow the name, not the folder.
#[tokio::test]
async fn a_prefix_that_is_made_anew_is_watched_again() {
    let root = tempfile::tempdir().unwrap();
    let img = root.path().join("img");
    fs::create_dir(&img).unwrap();
    let mut found = watch(root.path(), Source::System);
    fs::remove_dir(&img).unwrap();
    fs::create_dir(&img).unwrap();
    fs::write(img.join("a.png"), "x").unwrap();
    assert_eq!(keys(&everything(&mut found).await), ["img/a.png"]);
    fs::write(img.join("b.png"), "x").unwrap();
    assert_eq!(keys(&everything(&mut found).await), ["img/b.png"]);
}

#[tokio::test]
async fn our_own_writes_are_reported_like_a_person_s() {
    let root = tempfile::tempdir().unwrap();
    let store = crate::Store::open_folder(root.path()).await.unwrap();
    let mut found = watch(store.root().unwrap(), Source::System);
    store
        .put_bytes("img/b/c/Images/1.png", "x", crate::Put::Create)
        .await
        .unwrap();
    store
        .put_bytes("records/img/1.json", "{}", crate::Put::Create)
        .await
        .unwrap();
    assert_eq!(
        keys(&everything(&mut found).await),
        ["img/b/c/Images/1.png"]
    );
}
