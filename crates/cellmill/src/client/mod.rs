//! The HTTP side of the command line: typed calls to a running server, and errors that people understand.
//!
//! What goes over the line are the api's own types, `cellmill_api::views`.

mod calls;
mod error;
mod http;
mod storage;

pub use calls::{Filter, JobWish};
pub use error::Error;
pub use http::{Client, SignedRequest};
