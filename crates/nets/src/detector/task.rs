//! What a detector learns: for each square of the picture how much of a cell's centre it is, class by class, and how
//! far the cell reaches to the left, up, right and down.

use super::assign::{Targets, assign};
use super::loss;
use crate::dense::{Crop, Task};
use crate::layers::Chain;
use crate::layers::Layer as _;
use crate::layers::values::write;
use crate::loss::Loss;
use crate::models::{ANSWER_BIAS, MAX_CLASSES, Pyramid, STRIDE, is_above};
use candle_core::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A cell of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelledBox {
    /// From 0.
    pub class: usize,
    /// `[x1, y1, x2, y2]` in pixels, right and bottom exclusive.
    pub bbox: [f32; 4],
}

/// The network of a detector, apart from its weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorTask {
    pub network: Pyramid,
    /// A usual distance from a cell's centre to its border, in pixels: what a fresh network says.
    pub reach: f32,
}

/// Values of an answer beside its classes: left, up, right, down.
pub(super) const REACHES: usize = 4;
/// What a fresh network says of every class: cells are rare.
const FRESH_SCORE: f32 = 0.01;
/// A cell of which a crop shows less is not asked for.
const MIN_SHOWN: f32 = 0.4;
/// ... nor one of which it shows so few pixels.
const MIN_SIDE: f32 = 3.0;
/// The largest exponent of a reach: 150 times the usual one.
pub(super) const MAX_EXPONENT: f32 = 5.0;

impl DetectorTask {
    /// Values of an answer for so many classes.
    pub const fn n_outputs_for(n_classes: usize) -> usize {
        n_classes + REACHES
    }

    pub const fn n_classes(&self) -> usize {
        self.network.n_outputs - REACHES
    }
}

impl Task for DetectorTask {
    type Truth = Vec<LabelledBox>;
    type Seen = Vec<LabelledBox>;

    fn build(&self, seed: u64, device: &Device) -> candle_core::Result<Chain> {
        let mut network = self.network.build(seed, device)?;
        let n_classes = self.n_classes();
        let bias = (FRESH_SCORE / (1.0 - FRESH_SCORE)).ln();
        network.visit("", &mut |name, slot| {
            if name == ANSWER_BIAS {
                write(slot.value(), |it| it[..n_classes].fill(bias))?;
            }
            Ok(())
        })?;
        Ok(network)
    }

    fn n_outputs(&self) -> usize {
        self.network.n_outputs
    }

    fn is_head(&self, name: &str) -> bool {
        is_above(name)
    }

    fn centers(&self, truth: &Self::Truth) -> Vec<[f32; 2]> {
        let center = |it: &LabelledBox| {
            let [x1, y1, x2, y2] = it.bbox;
            [f32::midpoint(x1, x2), f32::midpoint(y1, y2)]
        };
        truth.iter().map(center).collect()
    }

    fn seen(&self, truth: &Self::Truth, crop: &Crop) -> Self::Seen {
        let side = crop.side as f32;
        let seen = truth.iter().filter_map(|it| {
            let whole = crop.box_of_field(it.bbox);
            let bbox = whole.map(|it| it.clamp(0.0, side));
            let size = |it: &[f32; 4]| [it[2] - it[0], it[3] - it[1]];
            let ([w, h], [all_w, all_h]) = (size(&bbox), size(&whole));
            let is_shown = w * h >= MIN_SHOWN * all_w * all_h && w.min(h) >= MIN_SIDE;
            is_shown.then_some(LabelledBox { bbox, ..*it })
        });
        seen.collect()
    }

    fn loss(&self, answers: &[f32], [rows, columns]: [usize; 2], seen: &[Self::Seen]) -> Loss {
        let one = rows * columns * self.n_outputs();
        let grid = loss::Grid {
            columns,
            n_classes: self.n_classes(),
            stride: STRIDE as f32,
            reach: self.reach,
        };
        let pictures = answers.par_chunks(one).zip(seen);
        let targets: Vec<_> = pictures.map(|(it, seen)| assign(&grid, it, seen)).collect();
        let total: f64 = targets.iter().map(Targets::total).sum();
        let scale = 1.0 / total.max(1.0);
        let mut gradient = vec![0.0; answers.len()];
        let parts = gradient.par_chunks_mut(one);
        let parts = parts.zip(answers.par_chunks(one)).zip(&targets);
        let values: Vec<f64> = parts
            .map(|((out, it), target)| loss::of_picture(&grid, it, target, scale, out))
            .collect();
        Loss {
            value: values.iter().sum(),
            gradient,
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let n_classes = self.network.n_outputs.saturating_sub(REACHES);
        let mut check = |name: &str, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                problems.push(format!("{name} is {value}, it goes from {low} to {high}"));
            }
        };
        check("n_classes", n_classes as f64, 1.0, MAX_CLASSES as f64);
        check("width", self.network.width as f64, 8.0, 1024.0);
        check("reach", f64::from(self.reach), 1.0, 1e4);
        problems
    }

    fn words(&self, truth: &Self::Truth) -> Vec<u64> {
        let words = |it: &LabelledBox| {
            let [a, b, c, d] = it.bbox.map(|it| u64::from(it.to_bits()));
            [it.class as u64, a << 32 | b, c << 32 | d]
        };
        truth.iter().flat_map(words).collect()
    }
}
