//! AWS endpoints seen from outside: a proxy that counts and breaks requests, a small client, a pump of events.
//!
//! Nothing here is used by the programs; they only see an address.

pub mod agent;
mod answer;
mod body;
pub mod call;
pub mod client;
pub mod door;
pub mod events;
pub mod faults;
pub mod functions;
pub mod ledger;
pub mod mirror;
pub mod notifications;
pub mod objects;
pub mod operation;
pub mod proxy;
#[cfg(test)]
mod proxy_tests;
pub mod pump;
pub mod queues;
pub mod rie;
pub mod scaling;
pub mod stack;
pub mod worker;

pub use call::Call;
pub use client::Aws;
pub use door::Door;
pub use faults::{Fault, Only, Plan, Rule};
pub use ledger::{Counts, Row, Tally};
pub use proxy::Proxy;
pub use pump::{Outlets, Pump, Pumped};
pub use stack::{Stack, StackWish};
pub use worker::Worker;
