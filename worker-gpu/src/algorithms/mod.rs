//! One module an algorithm.

pub mod data;
pub mod predict;
pub mod train;

use cellmill_worker::Failure;

/// What no attempt can do.
pub(crate) fn refuse(what: impl Into<String>) -> Failure {
    Failure::Permanent {
        what: what.into(),
        source: None,
    }
}
