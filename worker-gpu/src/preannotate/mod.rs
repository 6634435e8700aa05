//! Labelling new images with the model in use, before a person sees them (FORMATS B).

mod preannotator;
#[cfg(test)]
mod tests;
mod together;

pub use preannotator::Preannotator;
