//! The worker SDK: a frame that leases units, keeps them alive and commits them, around algorithms that
//! know nothing of leases.
//!
//! An [`Algorithm`] gets a [`Unit`] and a [`Context`] and turns input into outputs; changing one never
//! changes anything here. [`WorkerLoop`] does the rest (DESIGN 5.2 to 5.4 and 5.7): it follows hints, claims
//! by swap, beats beside the computation, stops itself when it can't beat, commits by one swap, and looks
//! for forgotten units when it has nothing to do. What units mean and how they are cut does not belong here.

mod algorithm;
mod claim;
mod context;
mod device;
mod error;
mod eta;
mod heartbeat;
mod inner;
mod log;
mod meter;
mod options;
mod registry;
mod run;
mod sweep;
mod tally;
mod worker_loop;

#[cfg(test)]
mod tests;

/// What an algorithm outside of this workspace needs besides, so that it can depend on this crate alone.
pub use async_trait::async_trait;
pub use cellmill_core as core;
pub use cellmill_queue as queue;
pub use cellmill_store as store;
pub use tokio_util::sync::CancellationToken;

pub use algorithm::{Algorithm, Failure, Outcome, Unit};
pub use context::{Context, StopSignal};
pub use error::{Cause, Error};
pub use eta::Eta;
pub use meter::Meter;
pub use options::{Options, Parts, fresh_id};
pub use worker_loop::WorkerLoop;
