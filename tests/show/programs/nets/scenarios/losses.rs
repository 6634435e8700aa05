//! The same networks from the same first weights on the same batches, in `PyTorch`: the same losses.

use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::Figures;
use cellmill_tests::show::learning::projects::json;
use cellmill_tests::show::place::say;
use serde_json::Value;

use crate::lab::{Lab, NETS, example, heard, last_json};

const STEPS: usize = 20;
const SEED: &str = "7";
/// Largest difference of two losses, as a part of the loss.
const DIFFERENCE: f64 = 1e-4;

pub(super) fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    for net in NETS.into_iter().filter(|it| lab.wants(it)) {
        say(format_args!("  losses.{net}"));
        let place = lab.show.make_place("losses")?.join(net);
        let name = format!("losses.{net}");
        match losses(lab, net, &place) {
            Ok((own, other)) => tell(figures, &name, &own, &other),
            Err(error) => {
                say(format_args!("  {error:#}"));
                let what = "could not be measured: see stderr";
                figures.at_most(&format!("{name}.difference"), f64::NAN, what, DIFFERENCE);
            }
        }
    }
    Ok(())
}

fn tell(figures: &mut Figures, name: &str, own: &[f64], other: &[f64]) {
    let n = own.len().min(other.len());
    figures.exactly(&format!("{name}.steps"), n, "losses", STEPS);
    let ends = [own.first(), own.last()].map(|it| it.copied().unwrap_or(f64::NAN));
    figures.told(&format!("{name}.first"), ends[0], "");
    figures.told(&format!("{name}.last"), ends[1], "");
    let unit = "of the loss, the largest of all steps";
    let largest = difference(own, other);
    figures.at_most(&format!("{name}.difference"), largest, unit, DIFFERENCE);
}

/// The largest difference of two losses of a step, as a part of the second.
pub(super) fn difference(own: &[f64], other: &[f64]) -> f64 {
    let pairs = own.iter().zip(other);
    let all = pairs.map(|(own, other)| (own - other).abs() / other.abs());
    // A loss that is no number must not be passed over.
    all.fold(0.0, |a, b| {
        if a.is_nan() || b.is_nan() {
            f64::NAN
        } else {
            a.max(b)
        }
    })
}

/// Our losses and those of `PyTorch`.
fn losses(lab: &Lab<'_>, net: &str, place: &Path) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut own = example("losses")?;
    let steps = STEPS.to_string();
    own.args(["--net", net, "--steps", &steps, "--seed", SEED, "--out"]);
    heard(own.arg(place))?;
    let mut script = lab.python("torch_losses.py")?;
    let other = last_json(&heard(script.arg(place))?)?;
    let own = json(&place.join("losses.json")).context("our losses")?;
    Ok((listed(&own), listed(&other)))
}

pub(super) fn listed(it: &Value) -> Vec<f64> {
    let losses = it["losses"].as_array().into_iter().flatten();
    losses.map(|it| it.as_f64().unwrap_or(f64::NAN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_counts_and_what_is_no_number_too() {
        assert!((difference(&[1.0, 2.2], &[1.0, 2.0]) - 0.1).abs() < 1e-12);
        assert!(difference(&[1.0, f64::NAN, 1.0], &[1.0, 1.0, 1.0]).is_nan());
    }
}
