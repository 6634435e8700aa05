//! Reads what the machine says of itself: cores, memory, disk, graphics cards.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cellmill_core::machine::{Gpu, Machine};
use sysinfo::{CGroupLimits, Disks, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Looks at this machine. What can't be read is zero or absent: nothing depends on it.
#[derive(Debug)]
pub struct Meter {
    /// Where scratch files go: its file system is the one that fills up.
    scratch: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// Absent where the system tells nothing.
    system: Option<System>,
    /// A share of time needs two looks.
    is_first: bool,
    #[cfg(feature = "nvml")]
    nvml: Option<nvml_wrapper::Nvml>,
}

impl Meter {
    /// A meter of this machine, with the file system that `scratch` lies on.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        Self {
            scratch: scratch.into(),
            seen: Mutex::new(Seen {
                system: System::new().ok(),
                is_first: true,
                #[cfg(feature = "nvml")]
                nvml: nvml_wrapper::Nvml::init().ok(),
            }),
        }
    }

    /// One look. It reads a few files of the system: some milliseconds.
    pub fn read(&self) -> Machine {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = std::mem::replace(&mut seen.is_first, false);
        let (disk_bytes, disk_free_bytes) = self.disk();
        let mut machine = Machine {
            n_cpus: std::thread::available_parallelism().map_or(1, |it| it.get() as u32),
            disk_bytes,
            disk_free_bytes,
            gpus: gpus(&seen),
            ..Machine::default()
        };
        let Some(system) = &mut seen.system else {
            return machine;
        };
        let own = Pid::from_u32(std::process::id());
        system.refresh_cpu_usage();
        system.refresh_memory();
        system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[own]),
            false,
            ProcessRefreshKind::nothing().with_memory(),
        );
        (machine.memory_bytes, machine.memory_used_bytes) = memory(system);
        machine.cpu_percent = (!is_first).then(|| percent(system.global_cpu_usage()));
        machine.process_bytes = system.process(own).map_or(0, sysinfo::Process::memory);
        machine
    }

    /// Size and free space of the file system with the longest mount point above the scratch folder.
    fn disk(&self) -> (u64, u64) {
        let Ok(disks) = Disks::new_with_refreshed_list() else {
            return (0, 0);
        };
        let above = disks
            .iter()
            .filter(|it| self.scratch.starts_with(it.mount_point()));
        above
            .max_by_key(|it| it.mount_point().as_os_str().len())
            .map_or((0, 0), |it| (it.total_space(), it.available_space()))
    }
}

/// Size and use of what this process may have: the container's limit goes before the machine.
fn memory(system: &System) -> (u64, u64) {
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory < system.total_memory() => of_container(&limits),
        _ => (system.total_memory(), system.used_memory()),
    }
}

/// What its programs hold. The files that the system keeps in memory count against a container's limit too, but it
/// gives that memory back when somebody asks: a worker that has read its packs is not full.
const fn of_container(limits: &CGroupLimits) -> (u64, u64) {
    (limits.total_memory, limits.rss)
}

fn percent(of_hundred: f32) -> u8 {
    of_hundred.clamp(0.0, 100.0).round() as u8
}

#[cfg(feature = "nvml")]
fn gpus(seen: &Seen) -> Vec<Gpu> {
    let Some(nvml) = &seen.nvml else {
        return Vec::new();
    };
    let look = |n: u32| {
        let device = nvml.device_by_index(n).ok()?;
        let memory = device.memory_info().ok()?;
        Some(Gpu {
            name: device.name().unwrap_or_default(),
            busy_percent: device
                .utilization_rates()
                .map_or(0, |it| it.gpu.min(100) as u8),
            memory_bytes: memory.total,
            memory_used_bytes: memory.used,
        })
    };
    (0..nvml.device_count().unwrap_or(0))
        .filter_map(look)
        .collect()
}

/// Without the library of the driver nothing is known of graphics cards.
#[cfg(not(feature = "nvml"))]
const fn gpus(_: &Seen) -> Vec<Gpu> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_cores_memory_and_a_disk() {
        let folder = std::env::temp_dir();
        let meter = Meter::new(folder);
        let first = meter.read();
        assert_eq!(first.cpu_percent, None, "a share of time needs two looks");
        let second = meter.read();
        assert!(second.cpu_percent.is_some_and(|it| it <= 100));
        assert!(second.n_cpus >= 1);
        assert!(second.process_bytes > 0 && second.process_bytes < second.memory_bytes);
        assert!(second.memory_used_bytes <= second.memory_bytes);
        assert!(second.disk_free_bytes <= second.disk_bytes);
    }

    #[test]
    fn files_that_the_system_keeps_do_not_fill_a_container() {
        let limits = CGroupLimits {
            total_memory: 8_000,
            free_memory: 100,
            rss: 1_500,
            ..CGroupLimits::default()
        };
        assert_eq!(of_container(&limits), (8_000, 1_500));
    }

    #[test]
    fn a_folder_that_no_file_system_holds_has_no_disk() {
        let machine = Meter::new("relative").read();
        assert_eq!((machine.disk_bytes, machine.disk_free_bytes), (0, 0));
    }
}
