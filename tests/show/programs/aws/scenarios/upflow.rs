//! One command up, the demo against it, one command down.

use std::time::Instant;

use anyhow::Result;
use cellmill_tests::aws::Door;
use cellmill_tests::show::Figures;

use crate::lab::Lab;

/// Functions, bucket, queues and door are there in less time than it takes to open a browser.
const UP_S: f64 = 30.0;
const DOWN_S: f64 = 15.0;

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("upflow")?;
    // Installing the emulator is done once, and not what is measured.
    lab.stack().await?.down().await?;

    let stack = lab.stack().await?;
    figures.at_most("upflow.up", stack.took.as_secs_f64(), "s", UP_S);
    let worker = lab.worker(&stack, "worker", &place).await?;
    let door = Door::of_stack(&lab.show.program, &stack)?;
    let begun = Instant::now();
    let epochs: &[&str] = if lab.show.options.quick {
        &["--epochs", "2"]
    } else {
        &[]
    };
    let report = door.json(&[&["demo"], epochs].concat()).await?;
    figures.told("upflow.demo", begun.elapsed().as_secs_f64(), "s");
    figures.holds("upflow.demo_has_a_report", report["accuracy"].is_number());
    let stopped = worker.stop().await?;
    figures.at_most("upflow.worker_stops", stopped.as_secs_f64(), "s", 30.0);
    let down = stack.down().await?;
    figures.at_most("upflow.down", down.as_secs_f64(), "s", DOWN_S);
    Ok(())
}
