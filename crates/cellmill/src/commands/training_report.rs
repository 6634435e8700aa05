//! What a training's report says beside the figures of its model: what was tried, and where the time went.

use cellmill_core::model::{Candidate, TrainProfile, TrainReport};

use crate::cli::table::Table;
use crate::cli::{Console, Error};

use super::figures::share;

/// Shows what the report has of it; a report of another version is passed over.
pub(super) fn show(console: &mut Console, report: Option<&serde_json::Value>) -> Result<(), Error> {
    let report = report.and_then(|it| serde_json::from_value::<TrainReport>(it.clone()).ok());
    let Some(report) = report else {
        return Ok(());
    };
    if !report.candidates.is_empty() {
        console.line("")?;
        console.line(candidates(&report.candidates).render())?;
    }
    if let Some(profile) = &report.profile {
        console.line("")?;
        console.line(parts(profile).render())?;
        console.line(speed(profile))?;
    }
    Ok(())
}

fn candidates(tried: &[Candidate]) -> Table {
    let mut table = Table::new([
        "network", "weights", "epochs", "best", "macro-F1", "loss", "outcome",
    ]);
    for it in tried {
        let was_tried = it.epochs > 0;
        let figure = |text: String| if was_tried { text } else { String::new() };
        table.row([
            format!("{} {}", it.family, it.scale),
            if it.pretrained { "given" } else { "fresh" }.to_owned(),
            it.epochs.to_string(),
            figure(it.best_epoch.to_string()),
            figure(share(it.macro_f1)),
            figure(it.loss.map(|it| format!("{it:.3}")).unwrap_or_default()),
            it.outcome.clone(),
        ]);
    }
    table
}

/// Shares are of the time in which something was done one after the other.
fn parts(profile: &TrainProfile) -> Table {
    let in_turn = profile.parts.iter().filter(|it| !it.beside);
    let all: f64 = in_turn.map(|it| it.seconds).sum();
    let mut table = Table::new(["part", "seconds", "share", "ms per cell"]);
    for it in &profile.parts {
        table.row([
            it.name.clone(),
            format!("{:.2}", it.seconds),
            if it.beside {
                "beside".to_owned()
            } else {
                share(it.seconds / all.max(f64::MIN_POSITIVE))
            },
            format!("{:.3}", 1e3 * it.seconds / profile.pictures.max(1) as f64),
        ]);
    }
    table
}

fn speed(profile: &TrainProfile) -> String {
    let (with_all, alone) = (profile.images_per_s, profile.compute_only_images_per_s);
    let ratio = with_all / alone.max(f64::MIN_POSITIVE);
    format!(
        "{with_all:.0} cells/s with reading, decoding and augmentation; the network alone {alone:.0}; ratio {ratio:.2}"
    )
}

#[cfg(test)]
mod tests {
    use cellmill_core::model::ProfilePart;

    use super::*;

    #[test]
    fn shares_are_of_what_is_done_in_turn() {
        let part = |name: &str, seconds: f64, beside: bool| ProfilePart {
            name: name.to_owned(),
            seconds,
            beside,
        };
        let profile = TrainProfile {
            parts: vec![
                part("forward", 1.0, false),
                part("augment", 2.0, true),
                part("backward", 3.0, false),
            ],
            pictures: 1000,
            steps: 10,
            seconds: 5.0,
            images_per_s: 200.0,
            compute_only_images_per_s: 250.0,
        };
        let text = parts(&profile).render();
        let row = |name: &str| -> Vec<&str> {
            let line = text.lines().find(|it| it.trim_start().starts_with(name));
            line.unwrap().split_whitespace().collect()
        };
        assert_eq!(row("forward")[1..], ["1.00", &share(0.25), "1.000"]);
        assert_eq!(row("augment")[2], "beside");
        assert!(speed(&profile).contains("ratio 0.80"));
    }
}
