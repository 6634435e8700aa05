//! Predicting the classes of a project's frozen cells with a model (FORMATS A.6, A.10).
//!
//! One unit takes one piece of the cells. Its output is a pure function of the piece, the model and the parameters.

mod algorithm;
mod answers;
#[cfg(test)]
mod tests;

pub use algorithm::PredictAlgorithm;
