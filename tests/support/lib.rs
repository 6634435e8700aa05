//! What the test programs share.

pub mod aws;
pub mod show;
