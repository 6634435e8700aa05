//! `workers`: who is there, and how their machines are.

use cellmill_api::views::{MachineView, WorkerView};
use cellmill_core::messages::UnitClass;

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, ServerArgs, Tone};

/// List workers: what they serve, what they do, how their machines are
///
/// A worker writes its record once a minute, so figures of machines are as old as `seen` says. One that was killed
/// stays in the list as gone since its last sign of life; a unit that it held is taken over by another.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkersArgs {
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: &WorkersArgs, console: &mut Console) -> Result<Exit, Error> {
    let workers = args.server.client()?.workers().await?;
    console.answer(&workers, |console, workers| show(workers, console))?;
    Ok(Exit::Ok)
}

fn show(workers: &[WorkerView], console: &mut Console) -> Result<(), Error> {
    if workers.is_empty() {
        return console.line("no worker is there");
    }
    let mut table = Table::new([
        "worker",
        "state",
        "seen",
        "classes",
        "device",
        "unit",
        "cpu",
        "memory",
        "disk free",
        "gpu",
    ]);
    for it in workers {
        let machine = it.machine.as_ref();
        let of_machine = |text: fn(&MachineView) -> String| machine.map(text).unwrap_or_default();
        let classes: Vec<&str> = it.classes.iter().map(UnitClass::as_str).collect();
        table.row([
            it.id.to_string(),
            state(it, console),
            format!("{} ago", table::seconds(it.age_s)),
            classes.join(", "),
            it.device.clone(),
            it.unit.clone().unwrap_or_default(),
            of_machine(cpu),
            of_machine(|it| used(it.memory_used_bytes, it.memory_bytes)),
            of_machine(|it| table::bytes(it.disk_free_bytes)),
            of_machine(gpus),
        ]);
    }
    console.line(table.render())
}

fn state(worker: &WorkerView, console: &Console) -> String {
    match (worker.is_live, &worker.unit) {
        (false, _) => {
            let since = worker.gone_since.map(table::moment);
            let since = since.map_or_else(String::new, |it| format!(" since {it}"));
            console.paint(Tone::Bad, format!("gone{since}"))
        }
        (true, Some(_)) => console.paint(Tone::Busy, "working"),
        (true, None) => console.paint(Tone::Good, "idle"),
    }
}

fn cpu(machine: &MachineView) -> String {
    match machine.cpu_percent {
        Some(percent) => format!("{percent} % of {}", machine.n_cpus),
        None => machine.n_cpus.to_string(),
    }
}

fn gpus(machine: &MachineView) -> String {
    let shown = machine.gpus.iter().map(|it| {
        let memory = used(it.memory_used_bytes, it.memory_bytes);
        format!("{} {} %, {memory}", it.name, it.busy_percent)
    });
    shown.collect::<Vec<_>>().join("; ")
}

fn used(used: u64, of: u64) -> String {
    format!("{} of {}", table::bytes(used), table::bytes(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_cards_are_written_for_people() {
        assert_eq!(used(1_500_000_000, 8_000_000_000), "1.5 GB of 8.0 GB");
        let card = cellmill_api::views::GpuView {
            name: "T4".to_owned(),
            busy_percent: 80,
            memory_bytes: 16_000_000_000,
            memory_used_bytes: 4_000_000_000,
        };
        let machine = MachineView {
            n_cpus: 4,
            cpu_percent: Some(50),
            memory_bytes: 0,
            memory_used_bytes: 0,
            process_bytes: 0,
            disk_bytes: 0,
            disk_free_bytes: 0,
            gpus: vec![card.clone(), card],
        };
        assert_eq!(cpu(&machine), "50 % of 4");
        let one = "T4 80 %, 4.0 GB of 16.0 GB";
        assert_eq!(gpus(&machine), format!("{one}; {one}"));
    }
}
