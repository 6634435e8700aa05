//! The program `cellmill`: the standalone wiring of all parts, and the command line.
//!
//! The command line speaks HTTP to a running `cellmill up`; `verify`, `janitor`, `support` and `show --root` read a
//! root folder themselves, `eval detect`, `eval segment` and `show --detections` files that any program may have written,
//! and `synth` makes pictures to try everything with.

pub mod cli;
pub mod client;
pub mod commands;
pub mod cost;
pub mod demo;
pub mod eval;
pub mod import;
pub mod show;
pub mod standalone;
pub mod support;
pub mod synth;
pub mod verify;
