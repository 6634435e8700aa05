//! What the shows share: programs that drive the real ones and say in figures what came of it.
//!
//! A show knows the programs only from outside: the command line, HTTP, the file tree. What it expects it computes
//! from the data by the readers here, so nothing of the programs' own code is used.

pub mod cases;
pub mod child;
pub mod data;
pub mod figure;
pub mod files;
pub mod frozen;
pub mod http;
pub mod learning;
pub mod picture;
pub mod place;
pub mod process;
pub mod renamed;
pub mod scenarios;
pub mod table;
pub mod tree;
pub mod wait;

pub use figure::Figures;
pub use place::{Show, ShowOptions};
