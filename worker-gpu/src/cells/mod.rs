//! The frozen cells of a project: what is known of them, and their pictures in the size that a network sees.

use cellmill_core::classes::KnownClasses;
use cellmill_store::Store;
use cellmill_worker::Failure;

mod input;
mod reader;
mod source;

pub(crate) use input::read_piece;
pub(crate) use reader::{CellReader, Picture, ReadTimes, Wanted};
pub(crate) use source::fitted;

/// The classes that are known now.
pub(crate) async fn known_classes(store: &Store) -> Result<KnownClasses, Failure> {
    let known = store.known_classes().await;
    known.map_err(|error| Failure::of_store("could not read the class tables", error))
}
