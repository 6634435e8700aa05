//! What is wrong, and how much it matters.

use cellmill_core::document::Document;
use cellmill_core::keys::ObjectKey;
use cellmill_store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Something that does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub weight: Weight,
    /// The object whose word does not hold.
    pub key: String,
    /// The rule that it breaks, for programs.
    pub rule: &'static str,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// A document says something that is not so.
    Problem,
    /// Left over or not done yet; the janitor or the next message puts it right.
    Note,
}

/// What one object's check found.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    pub(super) store: &'a Store,
    pub(super) key: &'a ObjectKey,
    pub(super) found: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(super) const fn new(store: &'a Store, key: &'a ObjectKey) -> Self {
        Self {
            store,
            key,
            found: Vec::new(),
        }
    }

    pub(super) fn problem(&mut self, rule: &'static str, detail: impl Into<String>) {
        self.push(Weight::Problem, rule, detail.into());
    }

    pub(super) fn note(&mut self, rule: &'static str, detail: impl Into<String>) {
        self.push(Weight::Note, rule, detail.into());
    }

    fn push(&mut self, weight: Weight, rule: &'static str, detail: String) {
        self.found.push(Finding {
            weight,
            key: self.key.to_path(),
            rule,
            detail,
        });
    }

    /// An error of the storage is a finding too: the object may be unreadable.
    fn unreadable(&mut self, key: &ObjectKey, error: &cellmill_store::Error) {
        let mut chain = vec![format!("`{key}`"), error.to_string()];
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        self.problem("readable", chain.join(": "));
    }

    /// The document under a key, `None` (and a finding, unless it is merely absent) when it cannot be read.
    pub(super) async fn document<D: Document>(&mut self, key: &ObjectKey) -> Option<D> {
        match self.store.read::<D>(key).await {
            Ok(found) => found.map(|it| it.value),
            Err(error) => {
                self.unreadable(key, &error);
                None
            }
        }
    }

    /// A JSON value without a stamp.
    pub(super) async fn json<T: DeserializeOwned>(&mut self, key: &ObjectKey) -> Option<T> {
        match self.store.read_json::<T>(key).await {
            Ok(found) => found.map(|it| it.value),
            Err(error) => {
                self.unreadable(key, &error);
                None
            }
        }
    }

    pub(super) async fn bytes(&mut self, key: &ObjectKey) -> Option<Vec<u8>> {
        match self.store.get_bytes(key).await {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(error) => {
                self.unreadable(key, &error);
                None
            }
        }
    }

    /// The length of an object, `None` when it is not there.
    pub(super) async fn length(&mut self, key: &ObjectKey) -> Option<u64> {
        match self.store.head(key).await {
            Ok(head) => head.map(|it| it.size),
            Err(error) => {
                self.unreadable(key, &error);
                None
            }
        }
    }

    /// Demands that an object is there.
    pub(super) async fn needs(&mut self, rule: &'static str, key: &ObjectKey) -> bool {
        let is_there = self.length(key).await.is_some();
        if !is_there {
            self.problem(rule, format!("`{key}` is not there"));
        }
        is_there
    }
}
