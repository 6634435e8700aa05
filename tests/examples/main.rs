//! The examples, run as their READMEs say, with the real programs. `tests/examples/run` builds those and runs this.

#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

mod exec;
mod lab;
mod legacy;
