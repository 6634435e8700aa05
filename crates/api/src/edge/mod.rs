//! What every request meets, whatever its subject.

mod answer;
mod error;
mod extract;
mod guard;
mod object;
mod page;
mod peer;

pub(crate) use answer::{finish, no_such_method, no_such_path, panicked};
pub(crate) use extract::{Json, JsonBody, Path, Query};
pub(crate) use guard::guard;
pub(crate) use object::{Disposition, send_object};
pub(crate) use page::PageQuery;
pub(crate) use peer::{Peer, local_only};

pub use error::{Error, ErrorBody};
pub use page::Page;
