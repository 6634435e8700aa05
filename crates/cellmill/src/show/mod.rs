//! `show`: an image with its boxes, as a PNG.

mod command;
mod marks;
mod source;
mod subject;

pub use command::{ShowArgs, run};
