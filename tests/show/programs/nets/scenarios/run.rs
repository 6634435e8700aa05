//! The scenarios one after the other.

use anyhow::Result;
use cellmill_tests::show::scenarios::run_each;
use cellmill_tests::show::{Figures, Show};

use super::{bccd, cells, cuda, losses, pipeline, preannotate, speed};
use crate::lab::Lab;

/// In the order they run.
pub(crate) const NAMES: [&str; 7] = [
    "speed",
    "losses",
    "cells",
    "bccd",
    "pipeline",
    "preannotate",
    "cuda",
];

/// Runs the chosen scenarios.
pub(crate) async fn run(lab: &Lab<'_>, figures: &mut Figures, only: Option<&str>) -> Result<()> {
    let one = async |name: &str, show: &Show, figures: &mut Figures| match name {
        // What runs processes and waits for them needs no runtime, and nothing else is going on.
        "speed" => tokio::task::block_in_place(|| speed::run(lab, figures)),
        "losses" => tokio::task::block_in_place(|| losses::run(lab, figures)),
        "cells" => cells::run(show, figures).await,
        "bccd" => bccd::run(show, figures).await,
        "pipeline" => pipeline::run(lab, figures).await,
        "preannotate" => preannotate::run(show, figures).await,
        "cuda" => {
            tokio::task::block_in_place(|| cuda::run(lab, figures));
            Ok(())
        }
        other => unreachable!("`{other}` is in the list of scenarios"),
    };
    run_each(lab.show, figures, &NAMES, only, one).await
}
