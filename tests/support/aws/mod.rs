//! AWS endpoints seen from outside: a proxy that counts and breaks requests, a small client, a pump of events.
//!
//! Nothing here is used by the programs; they only see an address.

mod answer;
mod body;
pub mod call;
pub mod client;
mod events;
pub mod faults;
pub mod ledger;
pub mod objects;
pub mod operation;
pub mod proxy;
#[cfg(test)]
mod proxy_tests;
pub mod pump;
pub mod queues;

pub use call::Call;
pub use client::Aws;
pub use faults::{Fault, Only, Plan, Rule};
pub use ledger::{Counts, Row, Tally};
pub use proxy::Proxy;
pub use pump::{Pump, Pumped};
