//! `show`: an image with its boxes, as a PNG.

mod command;
mod compare;
mod compare_marks;
mod marks;
mod source;
mod subject;

pub use command::{ShowArgs, run};
