//! The commands but `import`: each reads its arguments, asks, and answers in a table or in JSON.

pub mod case;
pub(crate) mod class_names;
pub mod dataset;
pub mod dead;
pub(crate) mod figures;
pub mod images;
pub mod janitor;
pub mod jobs;
pub mod label_types;
pub mod models;
pub(crate) mod numbers;
pub mod predict;
pub(crate) mod root;
pub mod settings;
pub mod synth;
pub mod train;
mod train_detector;
mod train_network;
mod training_report;
pub mod up;
pub mod why;
pub mod workers;
