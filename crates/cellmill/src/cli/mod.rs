//! The command line itself: arguments, exit codes, errors, and where commands write.

mod args;
mod console;
mod error;
mod exit;
pub(crate) mod table;

pub use args::{Cli, Command, ServerArgs};
pub use console::{Console, Tone};
pub use error::Error;
pub use exit::Exit;
