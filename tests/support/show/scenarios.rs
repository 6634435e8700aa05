//! Running the chosen scenarios of a show, and what the show ends with.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::figure::Figures;
use super::place::{Show, say};

/// Runs the chosen scenarios. One that breaks off is a figure that falls short; the others still run.
pub async fn run_each(
    show: &Show,
    figures: &mut Figures,
    names: &[&str],
    only: Option<&str>,
    one: impl AsyncFn(&str, &Show, &mut Figures) -> Result<()>,
) -> Result<()> {
    for name in names {
        if only.is_some_and(|only| only != *name) {
            continue;
        }
        say(format_args!("{name}: begins"));
        let begun = Instant::now();
        let ran = one(name, show, figures).await;
        if let Err(error) = &ran {
            say(format_args!("{name}: {error:#}"));
        }
        figures.holds(&format!("{name}.ran_to_its_end"), ran.is_ok());
        show.clear(&show.place(name)).context("make room")?;
        say(format_args!(
            "{name}: {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
    }
    Ok(())
}

/// 1 when a figure falls short or the show could not go on.
pub fn ended(ran: Result<()>, figures: &Figures) -> ExitCode {
    match ran {
        Ok(()) if figures.n_short() == 0 => ExitCode::SUCCESS,
        Ok(()) => {
            say(format_args!("{} figures fall short", figures.n_short()));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(format_args!("the show could not go on: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
