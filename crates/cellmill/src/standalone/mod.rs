//! Standalone: another wiring of the same parts, in one process over a folder.
//!
//! The functions take the same messages as on AWS, the worker is the same loop, and the api takes the
//! uploads that a bucket would take itself. Nothing below this module knows that it is so.

mod consume;
mod found;
mod functions;
mod janitor;
mod up;

pub(crate) use up::open_queue;
pub use up::{Running, UpError, UpOptions, start, up};
