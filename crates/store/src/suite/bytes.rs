//! Bytes: names, ranges, conditions, writers.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore as _, PutOptions};

use crate::objects::SHA256_FIELD;
use crate::{Error, Put, Store, Written};

/// Names that some store or file system gets wrong.
const NAMES: &[&str] = &[
    "plain.jpg",
    "病例 17 左.png",
    "100% sure.png",
    "%2F%00",
    "a#1",
    "a~b",
    ".leading",
    "trailing.",
    " space ",
    "a\\b",
    "quote'\"`",
    "<>|?*:[]{}^",
    "-rf",
    "é e\u{301}",
    "🔬",
];

/// Stores an object as a signed upload to a bucket does: with the sha256 that its sender declares, right or wrong.
/// A folder keeps no such thing and refuses.
pub async fn put_declaring(store: &Store, key: &str, bytes: impl Into<Bytes>, sha256: &str) {
    let mut attributes = Attributes::new();
    let field = Attribute::Metadata(SHA256_FIELD.into());
    attributes.insert(field, sha256.to_owned().into());
    let path = Path::parse(key).expect("a key");
    let put = store
        .objects
        .put_opts(&path, bytes.into().into(), PutOptions::from(attributes));
    put.await.expect("stored");
}

/// Every name is stored and listed as it is written.
pub async fn names_come_back_byte_for_byte(store: &Store) {
    let mut keys: Vec<String> = NAMES
        .iter()
        .flat_map(|name| [format!("names/{name}"), format!("names/in {name}/{name}")])
        .collect();
    keys.sort_unstable();
    for key in &keys {
        let written = store.put_bytes(key, key.clone(), Put::Create).await;
        assert_eq!(written.expect("stored"), Written::New, "{key}");
    }
    for key in &keys {
        assert_eq!(store.get_bytes(key).await.expect("stored"), *key);
    }
    let listed: Vec<_> = store.list("names").try_collect().await.expect("listed");
    let listed: Vec<_> = listed.into_iter().map(|it| it.key).collect();
    assert_eq!(listed, keys);

    for refused in [
        "", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a\0b",
    ] {
        let result = store.put_bytes(refused, "x", Put::Overwrite).await;
        assert!(
            matches!(result, Err(Error::BadKey { .. })),
            "{refused:?}: {result:?}"
        );
    }
}

/// The three ways to put. Holds with lost answers.
pub async fn bytes_are_created_once(store: &Store) {
    let put = async |bytes: &'static str, put| store.put_bytes("b/x.bin", bytes, put).await;
    assert_eq!(put("one", Put::Create).await.expect("new"), Written::New);
    let again = put("two", Put::Create).await;
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    assert_eq!(
        put("one", Put::IfSame).await.expect("same"),
        Written::AlreadyThere
    );
    let other = put("three", Put::IfSame).await;
    assert!(matches!(other, Err(Error::Exists { .. })), "{other:?}");
    assert_eq!(store.get_bytes("b/x.bin").await.expect("there"), "one");
    assert_eq!(
        put("four", Put::Overwrite).await.expect("replaced"),
        Written::New
    );
    assert_eq!(store.get_bytes("b/x.bin").await.expect("there"), "four");
}

/// Ranges, cut at the end, refused behind it.
pub async fn a_range_is_what_it_says(store: &Store) {
    for key in ["r/x.bin", "r/x.json"] {
        store
            .put_bytes(key, "0123456789", Put::Create)
            .await
            .expect("stored");
        assert_eq!(store.get_range(key, 2..5).await.expect("read"), "234");
        assert_eq!(store.get_range(key, 8..50).await.expect("read"), "89");
        let behind = store.get_range(key, 10..11).await;
        assert!(matches!(behind, Err(Error::Refused { .. })), "{behind:?}");
        let ranges = store.get_ranges(key, &[8..10, 0..2]).await.expect("read");
        assert_eq!(ranges, ["89", "01"]);
    }
    let missing = store.get_range("r/none", 0..1).await;
    assert!(missing.expect_err("not there").is_not_found());
    store
        .put_bytes("r/empty", "", Put::Create)
        .await
        .expect("stored");
    assert_eq!(store.get_bytes("r/empty").await.expect("read"), "");
}

/// The ETag changes with the content, is the same wherever it is told, and selects what is sent.
pub async fn conditional_reads_tell_the_content(store: &Store) {
    for key in ["c/x.bin", "c/x.json"] {
        store
            .put_bytes(key, "one", Put::Create)
            .await
            .expect("stored");
        let first = store.get(key).await.expect("read").head;
        assert_eq!(store.head(key).await.expect("asked").as_ref(), Some(&first));
        assert_eq!(first.size, 3);
        assert!((store.now() - first.last_modified).num_seconds().abs() < 60);
        let listed: Vec<_> = store.list("c").try_collect().await.expect("listed");
        let listed = listed.into_iter().find(|it| it.key == key).expect("listed");
        assert!(listed.etag.is_none_or(|etag| etag == first.etag));

        store
            .put_bytes(key, "two", Put::Overwrite)
            .await
            .expect("stored");
        let second = store.head(key).await.expect("asked").expect("there");
        assert_ne!(first.etag, second.etag);
    }
    assert_eq!(store.head("c/none").await.expect("asked"), None);
}

/// S3 answers so, and the janitor may be run twice.
pub async fn deleting_twice_is_deleting_once(store: &Store) {
    for key in ["d/x.bin", "d/x.json"] {
        store
            .put_bytes(key, "one", Put::Create)
            .await
            .expect("stored");
        store.delete(key).await.expect("deleted");
        store.delete(key).await.expect("deleted already");
        assert!(store.get_bytes(key).await.expect_err("gone").is_not_found());
        store
            .put_bytes(key, "two", Put::Create)
            .await
            .expect("created again");
    }
}

/// A writer's object is there whole or not at all, whether it is small or comes in parts, and a create-only one
/// replaces nothing.
pub async fn a_writer_shows_nothing_before_its_end(store: &Store) {
    let block: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    for (key, blocks) in [
        ("w/small.csv", 1_usize),
        ("w/large.csv", 21),
        ("w/large.json", 10),
    ] {
        let mut writer = store.writer(key, Put::Create).expect("a good key");
        for _ in 0..blocks {
            writer.write(&block).await.expect("written");
        }
        assert_eq!(store.head(key).await.expect("asked"), None, "{key}");
        assert_eq!(writer.written(), (blocks * block.len()) as u64);
        assert_eq!(writer.finish().await.expect("finished"), Written::New);

        let (head, stream) = store.get_stream(key).await.expect("there");
        assert_eq!(head.size, (blocks * block.len()) as u64);
        let chunks: Vec<_> = stream.try_collect().await.expect("read");
        assert!(
            chunks.concat() == block.repeat(blocks),
            "{key} holds other bytes"
        );

        let mut late = store.writer(key, Put::Create).expect("a good key");
        for _ in 0..=blocks {
            late.write(&block).await.expect("written");
        }
        let refused = late.finish().await;
        assert!(
            matches!(refused, Err(Error::Exists { .. })),
            "{key}: {refused:?}"
        );
        let mut same = store.writer(key, Put::IfSame).expect("a good key");
        for _ in 0..blocks {
            same.write(&block).await.expect("written");
        }
        assert_eq!(same.finish().await.expect("same"), Written::AlreadyThere);
    }
    let mut aborted = store
        .writer("w/aborted.csv", Put::Overwrite)
        .expect("a good key");
    for _ in 0..10 {
        aborted.write(&block).await.expect("written");
    }
    aborted.abort().await.expect("aborted");
    let listed = store.list("w").count().await;
    assert_eq!(listed, 3);
}
