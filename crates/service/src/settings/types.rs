//! The settings, in the types that the rest of the program uses.

use std::net::SocketAddr;
use std::time::Duration;

use cellmill_core::timing::Timing;
use chrono::FixedOffset;

/// Everything an operator can choose. [`Settings::default`] is what holds without any variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where everything is kept, as a URL; `None`: what the command line names.
    pub store: Option<String>,
    /// Where hints are kept, as a URL; `None`: a file inside the store's folder.
    pub queue: Option<String>,
    /// Where the page and the api answer.
    pub listen: SocketAddr,
    /// Where a worker tells whether it is at work; `None`: nowhere. On loopback.
    pub health: Option<SocketAddr>,
    /// The lease of units and what scales with it.
    pub timing: Timing,
    /// What an image may be.
    pub images: ImageLimits,
    /// What a CSV of points may be.
    pub csv: CsvLimits,
    /// Images in one unit of a data job.
    pub images_per_unit: usize,
    /// Units of one job that have hints out at a time.
    pub window: usize,
    /// How long what a job's units left beside the result stays after it ended.
    pub units_kept: Duration,
    /// Workers inside this process.
    pub workers: usize,
    /// Threads that decode and crop, at least 1.
    pub threads: usize,
    /// The time zone whose midnight is in the names of batches and cases.
    pub time_zone: FixedOffset,
    /// How long a signed upload address works.
    pub upload_ttl: Duration,
    /// Whether the predecessor's workers are served, on loopback.
    pub legacy_workers: bool,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// What an image may be; all of it is checked before decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// The size of the file.
    pub max_bytes: u64,
    /// Width and height, in pixels.
    pub max_side: u32,
    /// Width x height x channels x bytes.
    pub max_decoded_bytes: u64,
    /// What all decoded images of one process may take together; never less than `max_decoded_bytes`.
    pub decode_budget_bytes: u64,
}

/// What a CSV of points may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvLimits {
    /// The size of the file.
    pub max_bytes: u64,
    /// Rows, the header not counted.
    pub max_rows: usize,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Levels, for all or by module, as `tracing` reads them.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
