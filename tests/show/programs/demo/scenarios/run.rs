//! The scenarios one after the other.

use anyhow::Result;
use cellmill_tests::show::scenarios::run_each;
use cellmill_tests::show::{Figures, Show};

use super::{bccd, cells, cric, kill, odd, periodic, seed, synth, torch};

/// In the order they run.
pub(crate) const NAMES: [&str; 9] = [
    "synth", "bccd", "cells", "cric", "periodic", "seed", "kill", "odd", "torch",
];

/// Runs the chosen scenarios.
pub(crate) async fn run(show: &Show, figures: &mut Figures, only: Option<&str>) -> Result<()> {
    run_each(show, figures, &NAMES, only, one).await
}

async fn one(name: &str, show: &Show, figures: &mut Figures) -> Result<()> {
    match name {
        "synth" => synth::run(show, figures).await,
        "bccd" => bccd::run(show, figures).await,
        "cells" => cells::run(show, figures).await,
        "cric" => cric::run(show, figures).await,
        "periodic" => periodic::run(show, figures).await,
        "seed" => seed::run(show, figures).await,
        "kill" => kill::run(show, figures).await,
        "odd" => odd::run(show, figures).await,
        "torch" => torch::run(show, figures).await,
        other => unreachable!("`{other}` is in the list of scenarios"),
    }
}
