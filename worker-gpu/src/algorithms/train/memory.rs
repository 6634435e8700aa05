//! Whether a step fits into the memory of this machine. A process that asks for more ends without a word, and takes
//! what else it does with it.

use cellmill_core::machine::Machine;
use cellmill_worker::{Failure, Meter};

use crate::algorithms::refuse;
use crate::learning::Need;

/// Memory that a step may take of what is free.
const SHARE: f64 = 0.9;

/// Refuses a training that needs more than there is; one that needs more than is free now may come again.
pub(super) fn check(need: &Need) -> Result<(), Failure> {
    check_on(need, &Meter::new(std::env::temp_dir()).read())
}

fn check_on(need: &Need, machine: &Machine) -> Result<(), Failure> {
    if machine.memory_bytes == 0 {
        // The system does not say.
        return Ok(());
    }
    let all = machine.memory_bytes as f64 * SHARE;
    let free = machine
        .memory_bytes
        .saturating_sub(machine.memory_used_bytes) as f64
        * SHARE;
    let needed = need.bytes as f64;
    let gb = |bytes: f64| bytes / 1e9;
    let told = format!(
        "a step of {} with {} pictures of {} x {} pixels takes about {:.1} GB of memory",
        need.network,
        need.batch,
        need.side,
        need.side,
        gb(needed)
    );
    if needed > all {
        let batch = (need.batch as f64 * all / needed) as usize;
        let hint = match batch {
            0..=3 => "a smaller `--resize` or `--scale`".to_owned(),
            _ => format!("`--batch {batch}`, or a smaller `--resize` or `--scale`"),
        };
        return Err(refuse(format!(
            "{told}, and this worker may have {:.1} GB: take {hint}",
            gb(all)
        )));
    }
    if needed > free {
        return Err(Failure::temporary(
            format!("{told}, and {:.1} GB are free now", gb(free)),
            "other programs have the rest",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(memory_bytes: u64, memory_used_bytes: u64) -> Machine {
        Machine {
            memory_bytes,
            memory_used_bytes,
            ..Machine::default()
        }
    }

    const NEED: Need = Need {
        network: String::new(),
        batch: 128,
        side: 512,
        bytes: 16_000_000_000,
    };

    #[test]
    fn what_can_never_fit_is_refused_with_what_would() {
        let Err(Failure::Permanent { what, .. }) = check_on(&NEED, &machine(8_000_000_000, 0))
        else {
            panic!("16 GB do not fit into 8");
        };
        assert!(what.contains("about 16.0 GB"), "{what}");
        assert!(what.contains("`--batch 57`"), "{what}");
    }

    #[test]
    fn what_does_not_fit_now_may_come_again() {
        let full = check_on(&NEED, &machine(32_000_000_000, 20_000_000_000));
        assert!(matches!(full, Err(Failure::Temporary { .. })), "{full:?}");
        assert!(check_on(&NEED, &machine(32_000_000_000, 2_000_000_000)).is_ok());
    }

    #[test]
    fn a_machine_that_says_nothing_refuses_nothing() {
        assert!(check_on(&NEED, &machine(0, 0)).is_ok());
    }
}
