//! The AWS home: SQS, or what speaks its protocol.

mod client;
mod error;
mod home;
mod setup;

pub use home::SqsQueue;
