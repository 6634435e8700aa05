//! The whole pipeline in one process: real handlers and the real worker loop over memory.

mod lab;
mod order;
mod sets;
