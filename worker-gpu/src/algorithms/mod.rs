//! One module an algorithm.

pub mod data;
