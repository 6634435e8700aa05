//! Training a detector on the boxes of a data set: whole images in, a detector out.
//!
//! The outputs are a pure function of the frozen input and the parameters, as those of a classifier are.

mod fields;
mod run;
#[cfg(test)]
mod tests;
mod verdict;

pub(super) use run::run;
