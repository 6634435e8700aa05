//! The loop over the memory homes, against the promises of DESIGN 5.

mod checkpoints;
mod faults;
mod life;
mod support;
