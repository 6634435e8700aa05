//! The scenarios one after the other.

use anyhow::Result;
use cellmill_tests::show::scenarios::run_each;
use cellmill_tests::show::{Figures, Show};

use super::{bccd, finder, hostile, nuclei};

/// In the order they run.
pub(crate) const NAMES: [&str; 4] = ["finder", "bccd", "nuclei", "hostile"];

/// Runs the chosen scenarios.
pub(crate) async fn run(show: &Show, figures: &mut Figures, only: Option<&str>) -> Result<()> {
    let one = async |name: &str, show: &Show, figures: &mut Figures| match name {
        // They run processes and wait for them, and nothing else is going on.
        "finder" => tokio::task::block_in_place(|| finder::run(show, figures)),
        "nuclei" => tokio::task::block_in_place(|| nuclei::run(show, figures)),
        "bccd" => bccd::run(show, figures).await,
        "hostile" => hostile::run(show, figures).await,
        other => unreachable!("`{other}` is in the list of scenarios"),
    };
    run_each(show, figures, &NAMES, only, one).await
}
