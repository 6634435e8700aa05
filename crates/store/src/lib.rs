//! Typed documents and bytes over one bucket or folder, which is the only database of Cellmill.
//!
//! [`Store`] is what the rest of the workspace sees: documents that are created once or changed by swap,
//! bytes that appear whole or not at all, listings in key order, and the store's clock. Underneath is an
//! `object_store::ObjectStore`: memory, a folder on a local disk (see [`folder`]), or with the feature `aws` a
//! bucket of S3. What a document
//! means is decided in `cellmill-core`; nothing here looks into one beyond its [`Stamp`].
//!
//! [`Stamp`]: cellmill_core::document::Stamp

pub mod accept;
mod calls;
mod chance;
mod classes;
pub mod clock;
mod error;
pub mod fault;
pub mod folder;
pub mod gate;
pub mod jobs;
mod key;
mod memory;
mod objects;
#[cfg(feature = "aws")]
pub mod presign;
mod retry;
#[cfg(feature = "aws")]
pub mod s3;
mod store;
mod trail;
mod typed;
pub mod uploads;
pub mod versions;
pub mod watch;
mod writer;

#[cfg(any(test, feature = "suite"))]
pub mod suite;

#[cfg(test)]
mod homes;

pub use calls::Calls;
pub use error::{Cause, Error};
pub use key::AsKey;
pub use memory::MemoryStore;
pub use objects::{Head, Level, Listed, Object, ObjectStream, Put, Wanted, Written};
pub use store::Store;
pub use typed::{Created, Decision, Fresh, Replaced, Swapped, Versioned};
pub use writer::{CreateOnly, ObjectWriter};
