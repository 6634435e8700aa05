//! The commands but `import`: each reads its arguments, asks, and answers in a table or in JSON.

pub mod dataset;
pub mod images;
pub mod janitor;
pub mod jobs;
pub(crate) mod root;
pub mod settings;
pub mod synth;
pub mod up;
