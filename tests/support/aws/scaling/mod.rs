//! Scaling as AWS does it, on a measured series.

mod expression;
mod replay;
mod template;

pub use expression::{Expression, Values};
pub use replay::{Moment, Replay, Replayed, Task};
pub use template::Policy;
