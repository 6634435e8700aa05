//! The batches of an epoch: which pictures, in which order, and how they are changed.

use crate::kernels::kernel;
use crate::loss::MixedLabel;
use crate::options::TrainOptions;
use crate::rng::{Purpose, Rng};
use crate::samples::{Normalisation, Samples};
use rayon::prelude::*;
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

    /// What the network should say of a step's pictures.
    pub(super) fn labels(&self, step: usize) -> Labels {
        let labels = self.samples.labels();
        let plain: Vec<usize> = self.indices(step).iter().map(|it| labels[*it]).collect();
        let Some(mixes) = self.mixes(step) else {
            return Labels::Plain(plain);
        };
        let mixed = mixes.iter().zip(&plain).map(|(mix, &label)| MixedLabel {
            label,
            other: plain[mix.with],
            share: mix.share,
        });
        Labels::Mixed(mixed.collect())
    }

    /// How the pictures of a step are mixed, if they are. The larger share is of the picture itself.
    fn mixes(&self, step: usize) -> Option<Vec<Mix>> {
        let TrainOptions { seed, mixup, .. } = *self.options;
        if mixup <= 0.0 {
            return None;
        }
        let indices = self.indices(step);
        let mix = |at: &usize| {
            let place = [u64::from(self.epoch), *at as u64];
            let mut rng = Rng::new(seed, Purpose::Mixup, place);
            let (with, share) = (rng.below(indices.len()), rng.symmetric_beta(mixup));
            let share = share.max(1.0 - share);
            Mix { with, share }
        };
        Some(indices.iter().map(mix).collect())
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
        if let Some(mixes) = self.mixes(step) {
            mix_all(out, &mixes);
        }
    }
}

/// With which picture of its batch one is mixed, and how much of itself stays.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mix {
    with: usize,
    share: f64,
}

/// What the network should say of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Labels {
    Plain(Vec<usize>),
    Mixed(Vec<MixedLabel>),
}

impl Labels {
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Plain(it) => it.len(),
            Self::Mixed(it) => it.len(),
        }
    }

    /// The label that counts as the right answer.
    pub(super) fn right(&self, at: usize) -> usize {
        match self {
            Self::Plain(it) => it[at],
            Self::Mixed(it) => it[at].label,
        }
    }
}

fn mix_all(pictures: &mut [f32], mixes: &[Mix]) {
    let plain = pictures.to_vec();
    let one = plain.len() / mixes.len();
    let others = mixes.par_iter().zip(pictures.par_chunks_mut(one));
    others.for_each(|(mix, picture)| {
        mix_in(picture, &plain[mix.with * one..][..one], mix.share as f32);
    });
}

kernel! {
fn mix_in<'a>(picture: &'a mut [f32], other: &'a [f32], share: f32) {
    for (value, other) in picture.iter_mut().zip(other) {
        *value = other + share * (*value - other);
    }
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

    #[test]
    fn mixed_pictures_and_labels_have_the_same_shares() {
        let n = 12;
        let pixels: Vec<u8> = (0..n).flat_map(|it| [20 * it as u8; 3]).collect();
        let samples = Samples::try_new(1, pixels, (0..n).collect()).unwrap();
        let options = TrainOptions {
            side: 1,
            batch: n,
            augment: crate::Augment::NONE,
            mixup: 1.0,
            ..TrainOptions::default()
        };
        let normalisation = Normalisation {
            mean: [0.0; 3],
            deviation: [1.0 / 255.0; 3],
        };
        let feed = Feed::new(&samples, &options, &normalisation, 0);
        let mut out = vec![0.0; 3 * n];
        feed.fill(0, &mut out);
        let Labels::Mixed(labels) = feed.labels(0) else {
            panic!("they are mixed");
        };
        for (picture, it) in out.chunks_exact(3).zip(&labels) {
            let value = |label: usize| 20.0 * label as f64;
            let expected = it.share * value(it.label) + (1.0 - it.share) * value(it.other);
            assert!((f64::from(picture[0]) - expected).abs() < 1e-3, "{it:?}");
            assert!(it.share >= 0.5);
        }
        assert!(
            labels
                .iter()
                .any(|it| it.other != it.label && it.share < 0.9)
        );
        assert_eq!(feed.labels(0), feed.labels(0));
        let later = Feed::new(&samples, &options, &normalisation, 1);
        assert_ne!(later.labels(0), feed.labels(0), "each epoch mixes anew");
    }
}
