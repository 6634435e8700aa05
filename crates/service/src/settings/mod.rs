//! What an operator can choose: read once at start from a map, checked as a whole, then never changed.
//!
//! Environment variables are the only source. They are listed in [`mod@env`]; nothing else reads them.

pub mod env;
mod parse;
mod resolve;
mod shown;
mod types;

pub use env::table;
pub use parse::{Problem, SettingsError};
pub use shown::{shown, shown_env};
pub use types::{CsvLimits, ImageLimits, LogFormat, LogSettings, Settings};
