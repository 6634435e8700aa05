//! Several networks tried, the best one kept.

mod checkpoint;
mod container;
mod halving;
mod run;

pub use halving::{Outcome, Trial};
pub use run::Search;
