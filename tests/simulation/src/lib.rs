//! Jobs in a simulation: the real functions, the real worker loop, the real janitor and the real api over a store and
//! a queue in memory, on machines that fail, stand still and wake late, all under one seed and in virtual time.
//!
//! - [`plan`]: what is to happen, drawn from the seed
//! - [`machine`], [`post`]: the gates at which it happens
//! - [`check`]: what must never happen, watched on every write
//! - [`bugs`]: bugs planted to show that the check bites
//! - [`shrink`], [`report`]: a failing schedule made small; many schedules counted

mod api;
pub mod bugs;
mod check;
pub mod coverage;
mod draw;
mod gate;
pub mod history;
mod machine;
mod names;
mod people;
pub mod plan;
mod post;
pub mod report;
mod roles;
mod run;
pub mod shrink;
mod work;
mod world;

pub use check::Violation;
pub use run::{Outcome, run_plan};
pub use world::Counts;
