//! What a worker's machine says of itself: for people who ask why it is slow, never for decisions.

use serde::{Deserialize, Serialize};

/// One look at a machine. Bytes are bytes, percents are of all there is, 0 to 100.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that this process sees.
    pub n_cpus: u32,
    /// Since the look before; absent at the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u8>,
    /// Of the machine, or of the container's limit where there is one.
    pub memory_bytes: u64,
    pub memory_used_bytes: u64,
    /// What this process holds.
    pub process_bytes: u64,
    /// Of the file system that scratch files go to.
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    #[serde(default)]
    pub gpus: Vec<Gpu>,
}

/// One graphics card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    pub name: String,
    /// Share of the time in which something was computed.
    pub busy_percent: u8,
    pub memory_bytes: u64,
    pub memory_used_bytes: u64,
}
