//! What a program tells about itself to a collector of figures, in the text format of Prometheus.
//!
//! Most figures are read from documents at the moment they are asked for; so there is no registry of them here, only a
//! page to write on. What can't be read from anywhere (requests, calls, units) is counted by who does it.

mod histogram;
mod page;
mod shared;

pub use histogram::Histogram;
pub use page::{Family, Kind, Page};
pub use shared::{machine, process, store_calls};

use std::sync::Arc;

/// What the text is, for the answer's `content-type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Writes what a program knows onto the page. It is asked on a thread that may wait for a moment.
pub type Source = Arc<dyn Fn(&mut Page) + Send + Sync>;
