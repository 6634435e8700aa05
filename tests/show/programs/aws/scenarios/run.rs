//! The scenarios one after the other.

use anyhow::Result;
use cellmill_tests::show::Figures;
use cellmill_tests::show::scenarios::run_each;

use super::{faults, lambda, poison, pump, requests, samebucket, scaling, upflow, uploads};
use crate::lab::Lab;

/// In the order they run.
pub(crate) const NAMES: [&str; 9] = [
    "upflow",
    "samebucket",
    "pump",
    "faults",
    "poison",
    "uploads",
    "lambda",
    "requests",
    "scaling",
];

/// Runs the chosen scenarios.
pub(crate) async fn run(lab: &Lab<'_>, figures: &mut Figures, only: Option<&str>) -> Result<()> {
    run_each(lab.show, figures, &NAMES, only, async |name, _, figures| {
        one(name, lab, figures).await
    })
    .await
}

async fn one(name: &str, lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    match name {
        "upflow" => upflow::run(lab, figures).await,
        "samebucket" => samebucket::run(lab, figures).await,
        "pump" => pump::run(lab, figures).await,
        "faults" => faults::run(lab, figures).await,
        "poison" => poison::run(lab, figures).await,
        "uploads" => uploads::run(lab, figures).await,
        "lambda" => lambda::run(lab, figures).await,
        "requests" => requests::run(lab, figures).await,
        "scaling" => scaling::run(lab, figures).await,
        other => unreachable!("`{other}` is in the list of scenarios"),
    }
}
