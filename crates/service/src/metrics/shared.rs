//! Figures that several programs tell, under the same names.

use std::sync::OnceLock;
use std::time::SystemTime;

use cellmill_core::machine::Machine;

use super::{Kind, Page};

/// When the process started and what was built. The first call in a process is its start: make it early.
pub fn process(page: &mut Page) {
    static STARTED: OnceLock<f64> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs_f64()
    });
    page.family(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process started, in seconds since 1970.",
    )
    .set(&[], *started);
    page.family(
        "cellmill_build_info",
        Kind::Gauge,
        "What is running; the figure is always 1.",
    )
    .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

/// Calls of this process to its store, as (operation, outcome, how many).
pub fn store_calls<'a>(page: &mut Page, calls: impl IntoIterator<Item = (&'a str, &'a str, u64)>) {
    let family = page.family(
        "cellmill_store_calls_total",
        Kind::Counter,
        "Calls of this process to its store, by operation and outcome.",
    );
    for (operation, outcome, n) in calls {
        if n > 0 {
            family.count(&[("operation", operation), ("outcome", outcome)], n);
        }
    }
}

/// What a worker's machine says of itself. What it can't tell is left out.
pub fn machine(page: &mut Page, worker: &str, machine: &Machine) {
    let of_worker = [("worker", worker)];
    let mut gauge = |name, help, value: Option<f64>| {
        let family = page.family(name, Kind::Gauge, help);
        if let Some(value) = value {
            family.set(&of_worker, value);
        }
    };
    let known = |n: u64| (n > 0).then_some(n as f64);
    gauge(
        "cellmill_worker_cpu_ratio",
        "Share of the machine's processors in use, 0 to 1.",
        machine.cpu_percent.map(ratio),
    );
    gauge(
        "cellmill_worker_cpus",
        "Processors that the worker sees.",
        known(machine.n_cpus.into()),
    );
    gauge(
        "cellmill_worker_memory_bytes",
        "Memory of the machine, or of the container's limit.",
        known(machine.memory_bytes),
    );
    gauge(
        "cellmill_worker_memory_used_bytes",
        "Memory in use on the machine or in the container.",
        known(machine.memory_used_bytes),
    );
    gauge(
        "cellmill_worker_process_memory_bytes",
        "Memory that the worker's process holds.",
        known(machine.process_bytes),
    );
    gauge(
        "cellmill_worker_disk_bytes",
        "Size of the file system that scratch files go to.",
        known(machine.disk_bytes),
    );
    gauge(
        "cellmill_worker_disk_free_bytes",
        "Free space of the file system that scratch files go to.",
        (machine.disk_bytes > 0).then_some(machine.disk_free_bytes as f64),
    );
    for (at, gpu) in machine.gpus.iter().enumerate() {
        let at = at.to_string();
        let labels = [
            ("worker", worker),
            ("gpu", at.as_str()),
            ("name", gpu.name.as_str()),
        ];
        page.family(
            "cellmill_worker_gpu_busy_ratio",
            Kind::Gauge,
            "Share of the time in which the graphics card computed, 0 to 1.",
        )
        .set(&labels, ratio(gpu.busy_percent));
        page.family(
            "cellmill_worker_gpu_memory_bytes",
            Kind::Gauge,
            "Memory of the graphics card.",
        )
        .count(&labels, gpu.memory_bytes);
        page.family(
            "cellmill_worker_gpu_memory_used_bytes",
            Kind::Gauge,
            "Memory of the graphics card in use.",
        )
        .count(&labels, gpu.memory_used_bytes);
    }
}

fn ratio(percent: u8) -> f64 {
    f64::from(percent) / 100.0
}
