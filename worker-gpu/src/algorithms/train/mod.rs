//! Training a classifier on the frozen cells of a project (FORMATS A.6, A.10).
//!
//! The outputs are a pure function of the frozen input and the parameters: the model, what is to be said about it, the
//! split, its tables and pictures. Names of batches, cases and files decide nothing that the network sees.

mod algorithm;
mod catalogue;
mod cells;
mod detector;
mod learn;
mod memory;
mod parts;
mod profile;
mod report;
mod rival;
mod tables;
#[cfg(test)]
mod tests;
mod weights;

pub use algorithm::TrainAlgorithm;
