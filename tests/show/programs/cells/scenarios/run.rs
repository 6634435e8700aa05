//! The scenarios one after the other.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::{bench, hostile, import, jobs, kill, many, names, openapi, order, resume};
use crate::figure::Figures;
use crate::show::Show;

/// In the order they run.
pub(crate) const NAMES: [&str; 10] = [
    "import", "resume", "order", "kill", "hostile", "names", "many", "jobs", "openapi", "bench",
];

/// Runs the chosen scenarios. One that breaks off is a figure that falls short; the others still run.
pub(crate) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    for name in NAMES {
        if show
            .options
            .only
            .as_deref()
            .is_some_and(|only| only != name)
        {
            continue;
        }
        eprintln!("{name}: begins");
        let begun = Instant::now();
        let ran = one(name, show, figures).await;
        if let Err(error) = &ran {
            eprintln!("{name}: {error:#}");
        }
        figures.holds(&format!("{name}.ran_to_its_end"), ran.is_ok());
        show.clear(&show.place(name)).context("make room")?;
        eprintln!("{name}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
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
