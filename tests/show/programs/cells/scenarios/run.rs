//! The scenarios one after the other.

use anyhow::Result;
use cellmill_tests::show::scenarios::run_each;
use cellmill_tests::show::{Figures, Show};

use super::{bench, hostile, import, jobs, kill, many, names, openapi, order, resume};

/// In the order they run.
pub(crate) const NAMES: [&str; 10] = [
    "import", "resume", "order", "kill", "hostile", "names", "many", "jobs", "openapi", "bench",
];

/// Runs the chosen scenarios.
pub(crate) async fn run(show: &Show, figures: &mut Figures, only: Option<&str>) -> Result<()> {
    run_each(show, figures, &NAMES, only, one).await
}

async fn one(name: &str, show: &Show, figures: &mut Figures) -> Result<()> {
    match name {
        "import" => import::run(show, figures).await,
        "resume" => resume::run(show, figures).await,
        "order" => order::run(show, figures).await,
        "kill" => kill::run(show, figures).await,
        "hostile" => hostile::run(show, figures).await,
        "names" => names::run(show, figures).await,
        "many" => many::run(show, figures).await,
        "jobs" => jobs::run(show, figures).await,
        "openapi" => openapi::run(show, figures).await,
        "bench" => bench::run(figures),
        other => unreachable!("`{other}` is in the list of scenarios"),
    }
}
