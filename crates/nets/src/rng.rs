//! Seeded randomness: every draw is a function of (seed, purpose, where, count), so that a result never
//! depends on the number of threads, on what was drawn before, or on an interruption.

use std::f64::consts::TAU;

/// What draws are for. Two purposes never share a stream, so that a draw more in one moves nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// First weights of a network.
    Weights = 1,
    /// The order of samples in an epoch.
    Order = 2,
    /// Which features a dropout layer drops.
    Dropout = 3,
    /// How one sample is changed in one epoch.
    Augment = 4,
    /// With which picture one is mixed, and how much of it stays.
    Mixup = 6,
    /// Which part of a field a crop shows in an epoch, and at which size.
    Crop = 7,
    /// Made-up data of tests, examples and measurements.
    Synthetic = 5,
}

/// A stream of draws: `SplitMix64` (Steele, Lea, Flood 2014) whose start is a hash of what the stream is for.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

/// The odd constant nearest to 2^64 / golden ratio: the step of `SplitMix64`.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of `SplitMix64` (Stafford's mix 13): a permutation of the 64-bit numbers.
const fn mix(mut it: u64) -> u64 {
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ (it >> 31)
}

impl Rng {
    /// The stream of this purpose at this place, for example `[epoch, sample]`.
    pub fn new(seed: u64, purpose: Purpose, place: [u64; 2]) -> Self {
        let state = [purpose as u64, place[0], place[1]]
            .into_iter()
            .fold(mix(seed.wrapping_add(STEP)), |state, it| {
                mix(state.wrapping_add(STEP) ^ it.wrapping_mul(STEP | 1))
            });
        Self { state }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A number below `n`, which is above 0. The bias is below n / 2^64.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// A draw of the standard normal distribution (Box and Muller, the cosine branch).
    pub fn normal(&mut self) -> f64 {
        // 1 - u lies in (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// A draw of Beta(`shape`, `shape`), whose shape is above 0: about 1/2 for large ones, near 0 and 1 for small ones
    /// (Jöhnk 1964; with logarithms, since powers of small draws are 0). Large shapes take many tries.
    pub fn symmetric_beta(&mut self, shape: f64) -> f64 {
        loop {
            let mut log = || (1.0 - self.uniform()).ln() / shape;
            let (a, b) = (log(), log());
            let larger = a.max(b);
            let sum = larger + ((a - larger).exp() + (b - larger).exp()).ln();
            if sum <= 0.0 {
                return (a - sum).exp();
            }
        }
    }

    /// The numbers below `n` in random order (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(seed: u64, purpose: Purpose, place: [u64; 2]) -> Rng {
        Rng::new(seed, purpose, place)
    }

    #[test]
    fn a_stream_depends_on_seed_purpose_and_place_and_on_nothing_else() {
        let first = stream(7, Purpose::Order, [1, 2]).bits();
        assert_eq!(first, stream(7, Purpose::Order, [1, 2]).bits());
        let others = [
            stream(8, Purpose::Order, [1, 2]),
            stream(7, Purpose::Augment, [1, 2]),
            stream(7, Purpose::Order, [2, 1]),
            stream(7, Purpose::Order, [1, 3]),
            stream(7, Purpose::Order, [0, 2]),
        ];
        for mut other in others {
            assert_ne!(first, other.bits());
        }
    }

    /// The bounds are five standard errors of the mean of 20,000 draws.
    #[test]
    fn uniform_and_normal_draws_have_their_mean_and_variance() {
        let mut rng = stream(3, Purpose::Synthetic, [0, 0]);
        let n = 20_000;
        let uniform: Vec<f64> = (0..n).map(|_| rng.uniform()).collect();
        let normal: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let mean = |it: &[f64]| it.iter().sum::<f64>() / f64::from(n);
        let square = |it: &[f64]| it.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!((mean(&uniform) - 0.5).abs() < 0.0103);
        assert!((square(&uniform) - 1.0 / 3.0).abs() < 0.0106);
        assert!(mean(&normal).abs() < 0.036);
        assert!((square(&normal) - 1.0).abs() < 0.05);
    }

    /// Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)); the bounds are five standard errors of 20,000 draws.
    #[test]
    fn beta_draws_have_their_mean_and_variance() {
        for shape in [0.01, 0.2, 1.0, 2.0] {
            let mut rng = stream(4, Purpose::Synthetic, [0, 0]);
            let draws: Vec<f64> = (0..20_000).map(|_| rng.symmetric_beta(shape)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|it| (it - 0.5).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 0.25 / (2.0 * shape + 1.0);
            assert!(
                (mean - 0.5).abs() < 5.0 * (expected / 20_000.0).sqrt(),
                "{mean}"
            );
            assert!((variance - expected).abs() < 0.006, "{variance} {expected}");
            assert!(draws.iter().all(|it| (0.0..=1.0).contains(it)));
        }
    }

    #[test]
    fn a_permutation_holds_every_number_once_and_each_place_equally_often() {
        let mut firsts = [0; 5];
        for seed in 0..5000 {
            let order = stream(seed, Purpose::Order, [0, 0]).permutation(5);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
            firsts[order[0]] += 1;
        }
        // Expected 1000 each, standard deviation 28.
        assert!(
            firsts.iter().all(|it| (860..1140).contains(it)),
            "{firsts:?}"
        );
    }

    #[test]
    fn streams_of_neighbouring_places_are_not_alike() {
        let draws: Vec<f64> = (0..10_000)
            .map(|it| stream(1, Purpose::Augment, [0, it]).uniform() - 0.5)
            .collect();
        let lagged: f64 = draws.windows(2).map(|it| it[0] * it[1]).sum();
        let all: f64 = draws.iter().map(|it| it * it).sum();
        assert!((lagged / all).abs() < 0.05);
    }
}
