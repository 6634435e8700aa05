//! What every mutable document carries so that a swap can be told apart from a race.

use serde::{Deserialize, Serialize};

/// The three fields that `store` keeps in every mutable document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Version of the document's form; readers tolerate unknown fields, not an unknown `v`.
    #[serde(default)]
    pub v: u32,
    /// Grows by one with every swap; the first write is 1.
    #[serde(default)]
    pub rev: u64,
    /// Fresh for every intended write. A write whose answer was lost is recognised by it:
    /// when the stored document shows our `write`, we won.
    #[serde(default)]
    pub write: String,
}

/// A mutable JSON document, changed only by compare-and-swap.
pub trait Document: Serialize + serde::de::DeserializeOwned + Clone + Send + Sync {
    /// Version of the form that this code writes.
    const VERSION: u32 = 1;

    fn stamp(&self) -> &Stamp;
    fn stamp_mut(&mut self) -> &mut Stamp;
}

/// Implements [`Document`] for structs that hold `#[serde(flatten)] pub stamp: Stamp`.
#[macro_export]
macro_rules! impl_document {
    ($($name:ty),+ $(,)?) => {$(
        impl $crate::document::Document for $name {
            fn stamp(&self) -> &$crate::document::Stamp {
                &self.stamp
            }
            fn stamp_mut(&mut self) -> &mut $crate::document::Stamp {
                &mut self.stamp
            }
        }
    )+};
}
