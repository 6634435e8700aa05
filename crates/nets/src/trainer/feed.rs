//! The batches of an epoch: which pictures, in which order, and how they are changed.

use crate::options::TrainOptions;
use crate::rng::{Purpose, Rng};
use crate::samples::{Normalisation, Samples};
use std::ops::Range;

/// Makes the batches of one epoch. A batch is a function of the settings, the epoch and its number, so it may be made
/// at any time, on any thread.
pub(super) struct Feed<'a> {
    samples: &'a Samples,
    options: &'a TrainOptions,
    normalisation: &'a Normalisation,
    epoch: u32,
    /// The samples in the order of this epoch.
    order: Vec<usize>,
}

impl<'a> Feed<'a> {
    /// `epoch`: those that are done.
    pub(super) fn new(
        samples: &'a Samples,
        options: &'a TrainOptions,
        normalisation: &'a Normalisation,
        epoch: u32,
    ) -> Self {
        let place = [u64::from(epoch), 0];
        let order = Rng::new(options.seed, Purpose::Order, place).permutation(samples.len());
        Self {
            samples,
            options,
            normalisation,
            epoch,
            order,
        }
    }

    pub(super) fn n_steps(&self) -> usize {
        n_steps(self.order.len(), self.options.batch)
    }

    /// The samples of a step, from 0.
    pub(super) fn indices(&self, step: usize) -> &[usize] {
        &self.order[range(self.order.len(), self.options.batch, step)]
    }

    pub(super) fn labels(&self, step: usize) -> Vec<usize> {
        let labels = self.samples.labels();
        self.indices(step).iter().map(|it| labels[*it]).collect()
    }

    /// The shape of a step's pictures.
    pub(super) fn shape(&self, step: usize) -> [usize; 4] {
        let side = self.options.side;
        [self.indices(step).len(), side, side, 3]
    }

    /// Fills `out` with the pictures of a step, changed and normalised.
    pub(super) fn fill(&self, step: usize, out: &mut [f32]) {
        let key = [self.options.seed, u64::from(self.epoch)];
        let indices = self.indices(step);
        let augment = &self.options.augment;
        augment.batch(self.samples, indices, self.normalisation, key, out);
    }
}

/// Steps of an epoch of `n` samples.
///
/// The statistics of a few pictures mislead the normalisation, and with it every later step: a last batch of less than
/// half joins the one before.
pub(super) const fn n_steps(n: usize, batch: usize) -> usize {
    let rest = n % batch;
    let whole = n / batch + (rest > 1 && 2 * rest >= batch) as usize;
    if whole == 0 { 1 } else { whole }
}

fn range(n: usize, batch: usize, step: usize) -> Range<usize> {
    let is_last = step + 1 == n_steps(n, batch);
    step * batch..if is_last { n } else { (step + 1) * batch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_in_one_batch_of_an_epoch() {
        for (n, batch) in [(33, 16), (39, 16), (40, 16), (3, 2), (2, 16)] {
            let samples = Samples::try_new(1, vec![0; 3 * n], vec![0; n]).unwrap();
            let options = TrainOptions {
                side: 1,
                batch,
                ..TrainOptions::default()
            };
            let normalisation = samples.normalisation();
            let feed = Feed::new(&samples, &options, &normalisation, 3);
            let mut seen: Vec<usize> = (0..feed.n_steps())
                .flat_map(|it| feed.indices(it).to_vec())
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
    }
}
