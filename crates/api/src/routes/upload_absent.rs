//! Which of many keys have nothing under them, found by a few listings instead of a question each.

use std::collections::{BTreeMap, BTreeSet};

use cellmill_store::{Error, Store};
use futures::TryStreamExt as _;

/// Fewer keys of a folder are asked for one by one.
const WORTH_LISTING: usize = 4;

/// The keys among `keys` under which nothing lies. One that was made meanwhile may be among them: a signed upload
/// that is create-only meets it.
pub(super) async fn absent(
    store: &Store,
    keys: impl IntoIterator<Item = String>,
) -> Result<BTreeSet<String>, Error> {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in keys {
        if let Some((folder, _)) = key.rsplit_once('/') {
            folders
                .entry(format!("{folder}/"))
                .or_default()
                .insert(key.clone());
        }
    }
    let mut absent = BTreeSet::new();
    for (folder, mut keys) in folders {
        if keys.len() < WORTH_LISTING {
            continue;
        }
        let (Some(first), Some(last)) = (keys.first().cloned(), keys.last().cloned()) else {
            continue;
        };
        // A listing begins behind a key: behind one that stands right before the first.
        let mut before = first;
        before.pop();
        let mut listed = store.list_from(&folder, &before);
        while let Some(found) = listed.try_next().await? {
            if found.key > last {
                break;
            }
            keys.remove(&found.key);
        }
        absent.append(&mut keys);
    }
    Ok(absent)
}

#[cfg(test)]
mod tests {
    use cellmill_store::Put;

    use super::*;

    #[tokio::test]
    async fn what_is_there_is_not_absent_and_few_keys_are_not_listed() {
        let store = Store::memory();
        let key = |name: &str| format!("img/b/c/Images/{name}");
        for name in ["a", "b2", "z"] {
            store
                .put_bytes(&key(name), vec![1], Put::Create)
                .await
                .unwrap();
        }
        let asked = ["a", "b1", "b2", "b3", "é"].map(key);
        let found = absent(&store, asked).await.unwrap();
        assert_eq!(found, ["b1", "b3", "é"].map(key).into());
        let few = absent(&store, ["x", "y"].map(key)).await.unwrap();
        assert_eq!(few, BTreeSet::new());
    }
}
