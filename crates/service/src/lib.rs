//! The shell of every program: settings, logs, the last word on an error, and an orderly end.
//!
//! What a program does belongs elsewhere; this is what all of them need around it.

pub mod health;
mod log;
pub mod metrics;
pub mod redact;
mod report;
pub mod settings;
mod shutdown;

pub use log::init as init_log;
pub use report::report;
pub use settings::Settings;
pub use shutdown::Shutdown;
