//! The HTTP side of Cellmill: one router, its `OpenAPI` document made of the same declarations, and a server.
//!
//! A route reads and swaps documents of the store and sends hints; what a document means is decided in
//! `cellmill-core`. Nothing here touches pixels, and nothing here knows whether it runs beside the other
//! parts in one process or alone: that is the wiring's business, which hands over [`ApiParts`].
//!
//! - [`accept`]: how a job is accepted, for every program that submits one
//! - `edge`: what every request meets (ids, guards, errors as JSON)
//! - `routes`: one module a subject, each with its request and response types

pub mod accept;
pub mod audit;
mod document;
mod edge;
mod parts;
mod person;
mod router;
mod routes;
mod serve;

pub use document::document;
pub use edge::{Error, ErrorBody};
pub use parts::{ApiParts, Notify, QueueNotify, Settings};
pub use person::{Identify, LocalUser, Person, Unidentified};
pub use router::router;
pub use routes::views;
pub use serve::serve;
