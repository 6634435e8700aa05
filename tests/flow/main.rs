//! The whole pipeline in one process: real handlers and the real worker loop over memory.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so")]

mod lab;
mod order;
mod periodic;
mod projects;
mod requests;
mod sets;
