//! Files that a person copies into the folder of a standalone home, found without being told.
//!
//! A file is reported when its size and time of change have stood still for the settling time. What lay there
//! before the watch began is not reported; the sweep at start finds it. Our own writes are reported too, and one
//! file may be reported twice: whoever listens compares with the records. A writer that pauses for longer
//! than the settling time is reported half-way, and again when it is done.

mod settling;
#[cfg(test)]
mod tests;
mod tree;
mod watcher;

use std::path::PathBuf;

pub use watcher::{WatchError, start};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// An object under this key.
    Key(String),
    /// Something that cannot be an object.
    Unusable {
        /// The thing, with the root.
        path: PathBuf,
        /// The rule that it breaks, for the person who put it there.
        reason: String,
    },
}
