//! The scenarios one after the other.

use anyhow::Result;
use cellmill_tests::show::scenarios::run_each;
use cellmill_tests::show::{Figures, Show};

use super::{bugs, cancel, examples, fairness, legacy, processes, raise, schedules, takeover};
use crate::lab::Lab;

/// In the order they run.
pub(crate) const NAMES: [&str; 9] = [
    "schedules",
    "bugs",
    "processes",
    "takeover",
    "cancel",
    "raise",
    "fairness",
    "legacy",
    "examples",
];

/// Runs the chosen scenarios.
pub(crate) async fn run(lab: &Lab<'_>, figures: &mut Figures, only: Option<&str>) -> Result<()> {
    let one = async |name: &str, _: &Show, figures: &mut Figures| match name {
        "schedules" => schedules::run(lab, figures).await,
        "bugs" => bugs::run(figures).await,
        "processes" => processes::run(lab, figures).await,
        "takeover" => takeover::run(lab, figures).await,
        "cancel" => cancel::run(lab, figures).await,
        "raise" => raise::run(lab, figures).await,
        "fairness" => fairness::run(lab, figures).await,
        "legacy" => legacy::run(figures).await,
        "examples" => examples::run(lab, figures).await,
        other => unreachable!("`{other}` is in the list of scenarios"),
    };
    run_each(lab.show, figures, &NAMES, only, one).await
}
