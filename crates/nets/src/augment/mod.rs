//! Random changes of training pictures: what a cell may look like under another turn, focus and stain.

mod pixels;
mod settings;

pub(crate) use pixels::Planes;
pub use settings::Augment;
