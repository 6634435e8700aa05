//! Listings.

use futures::TryStreamExt as _;

use crate::{Put, Store};

async fn keys(store: &Store, prefix: &str, offset: Option<&str>) -> Vec<String> {
    let stream = match offset {
        None => store.list(prefix),
        Some(offset) => store.list_from(prefix, offset),
    };
    let listed: Vec<_> = stream.try_collect().await.expect("listed");
    listed.into_iter().map(|it| it.key).collect()
}

async fn fill(store: &Store, keys: &[String]) {
    for key in keys {
        store
            .put_bytes(key, "x", Put::Create)
            .await
            .expect("stored");
    }
}

/// The byte order of the whole key, where `a.b` stands before `a/b` though the folder `a` stands before the
/// file `a.b`; prefixes are whole segments; every offset cuts exactly, also one that is no key.
pub async fn a_listing_is_in_key_order(store: &Store) {
    let mut all: Vec<String> = ["a", "a-b", "a.b", "a0", "b", "é", "病", "A"]
        .iter()
        .flat_map(|dir| {
            ["x", "x.json", "x!/y", "x0", "z/1", "z/10", "z/2"].map(|it| format!("p/{dir}/{it}"))
        })
        .chain(["p/a.txt", "p/a!", "p/~", "pp/1", "q"].map(str::to_owned))
        .collect();
    all.sort_unstable();
    fill(store, &all).await;
    let below = |prefix: &str| -> Vec<String> {
        all.iter()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect()
    };
    assert_eq!(keys(store, "", None).await, all);
    for prefix in ["p/", "p/a/", "p/a/z/", "p/none/", "pp/", "p/a.txt/"] {
        assert_eq!(keys(store, prefix, None).await, below(prefix), "{prefix}");
        assert_eq!(
            keys(store, prefix.trim_end_matches('/'), None).await,
            below(prefix)
        );
    }
    let offsets = all
        .iter()
        .cloned()
        .chain(["p/a", "p/a/z", "p/a/z/1x", "o", "r"].map(str::to_owned));
    for offset in offsets {
        let mut expected = below("p/");
        expected.retain(|key| *key > offset);
        assert_eq!(keys(store, "p", Some(&offset)).await, expected, "{offset}");
    }
}

/// One level: objects, and the prefixes that hold any.
pub async fn a_level_shows_prefixes_that_hold_objects(store: &Store) {
    let all = ["l/a/1", "l/a.b/1/2", "l/c/1", "l/x", "l/x.y", "m"].map(str::to_owned);
    fill(store, &all).await;
    store.delete("l/c/1").await.expect("deleted");
    let level = store.list_level("l/").await.expect("listed");
    assert_eq!(level.dirs, ["l/a.b", "l/a"]);
    let objects: Vec<_> = level.objects.into_iter().map(|it| it.key).collect();
    assert_eq!(objects, ["l/x", "l/x.y"]);
    assert_eq!(store.list_dirs("").await.expect("listed"), ["l"]);
    assert_eq!(store.list_dirs("none").await.expect("listed"), [""; 0]);
}
