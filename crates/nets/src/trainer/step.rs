//! One step: forward, loss, backward, and the weights move.

use super::average::Average;
use super::feed::Labels;
use super::profile::{Clock, Part};
use crate::classifier::argmax;
use crate::layers::Pass;
use crate::layers::values::{fill, read};
use crate::loss::{cross_entropy, mixed_cross_entropy};
use crate::models::{self, Network};
use crate::optimiser::{AdamW, Pace};
use crate::options::TrainOptions;
use candle_core::{Result, Tensor};

/// What a step moves and what it needs.
pub(super) struct Stepper<'a> {
    pub(super) options: &'a TrainOptions,
    /// Steps at first in which the head learns alone.
    pub(super) head_steps: u64,
    pub(super) class_weights: &'a [f32],
    pub(super) network: &'a mut Network,
    pub(super) pass: &'a mut Pass,
    pub(super) optimiser: &'a mut AdamW,
    pub(super) average: Option<&'a mut Average>,
    pub(super) clock: &'a mut Clock,
}

impl Stepper<'_> {
    /// One batch: its loss and the number of right answers. Weights do not move on a loss that is no number.
    pub(super) fn step(&mut self, x: Tensor, labels: &Labels, rate: f64) -> Result<(f64, usize)> {
        self.pass.step = self.optimiser.steps;
        let begun = self.clock.now();
        let body_rests = self.body(rate).is_none();
        let mut logits = if body_rests {
            self.network.forward_head(x, self.pass)?
        } else {
            self.network.forward(x, self.pass)?
        };
        let (loss, n_right) = {
            let values = read(&logits)?;
            let rows = values.chunks_exact(self.options.n_classes).enumerate();
            let right = rows.filter(|(at, row)| argmax(row) == labels.right(*at));
            let (n_right, smoothing) = (right.count(), self.options.label_smoothing);
            let weights = self.class_weights;
            let loss = match labels {
                Labels::Plain(it) => cross_entropy(&values, it, weights, smoothing),
                Labels::Mixed(it) => mixed_cross_entropy(&values, it, weights, smoothing),
            };
            (loss, n_right)
        };
        let begun = self.clock.took(Part::Forward, begun);
        if loss.value.is_finite() {
            fill(&mut logits, |it| it.copy_from_slice(&loss.gradient))?;
            if body_rests {
                self.network.backward_head(logits, self.pass)?;
            } else {
                self.network.backward(logits, self.pass)?;
            }
            let begun = self.clock.took(Part::Backward, begun);
            let (body, head) = (self.body(rate), Some(Pace { rate, since: 0 }));
            let pace = |name: &str| if models::is_head(name) { head } else { body };
            self.optimiser.step_by(self.network, &pace)?;
            if let Some(average) = &mut self.average {
                average.update(self.network, self.optimiser.steps)?;
            }
            self.clock.took(Part::Optimiser, begun);
        }
        Ok((loss.value, n_right))
    }

    /// How the body moves in this step, if it does.
    fn body(&self, rate: f64) -> Option<Pace> {
        let (since, part) = (self.head_steps, self.options.body_rate);
        let moves = self.pass.step >= since && part > 0.0;
        moves.then_some(Pace {
            rate: rate * part,
            since,
        })
    }
}
