//! Random numbers and functions that give the same bits everywhere.

/// xoshiro256**, seeded by splitmix64 (Blackman and Vigna, prng.di.unimi.it): small, fast, and fixed for ever here,
/// which a library's generator is not.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: [u64; 4],
}

impl Random {
    /// A stream of its own for every pair of seed and index.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut mix = splitmix(seed).wrapping_add(splitmix(stream ^ 0xa076_1d64_78bd_642f));
        let state = std::array::from_fn(|_| {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            splitmix(mix)
        });
        Self { state }
    }

    pub(super) fn next(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// 0 to below 1, in steps that an `f32` holds exactly.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// 0 to `n - 1`; the tiny bias towards low numbers does not matter here.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }
}

fn splitmix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The sine of so many turns, by Bhaskara's formula: at most 0.002 off.
pub(super) fn sine(turns: f32) -> f32 {
    let turn = turns - turns.floor();
    let half = |u: f32| {
        let hill = u * (1.0 - u);
        16.0 * hill / (5.0 - 4.0 * hill)
    };
    if turn < 0.5 {
        half(2.0 * turn)
    } else {
        -half(2.0 * turn - 1.0)
    }
}

pub(super) fn cosine(turns: f32) -> f32 {
    sine(turns + 0.25)
}

/// What passes through a layer of this optical density: close to `exp(-density)`.
pub(super) fn transmitted(density: f32) -> f32 {
    let base = 1.0 / (1.0 + density * (1.0 / 16.0));
    let two = base * base;
    let four = two * two;
    let eight = four * four;
    eight * eight
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(super) fn step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Smooth noise over the plane, -1 to 1, with features about one unit wide.
pub(super) fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    let (sx, sy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
    let (column, row) = (left as i32, top as i32);
    let at = |dx: i32, dy: i32| lattice(column.wrapping_add(dx), row.wrapping_add(dy), seed);
    let upper = at(0, 0) + (at(1, 0) - at(0, 0)) * sx;
    let lower = at(0, 1) + (at(1, 1) - at(0, 1)) * sx;
    upper + (lower - upper) * sy
}

fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = (x as u32)
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add((y as u32).wrapping_mul(0x85eb_ca77))
        .wrapping_add(seed.wrapping_mul(0xc2b2_ae3d));
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^= h >> 15;
    (h >> 8) as f32 / 8_388_608.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes() {
        let mut random = Random::new(1, 0);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        expect_test::expect![[r"
            [
                15408832938285645771,
                3538565789837198103,
                18020023053808346506,
            ]
        "]]
        .assert_debug_eq(&first);
        let mut other = Random::new(1, 1);
        assert_ne!(first[0], other.next());
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(7, 7);
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&random.unit()));
            assert!(random.below(3) < 3);
        }
    }

    #[test]
    fn the_functions_are_close_to_what_they_stand_for() {
        for i in 0..1000 {
            let x = i as f32 / 500.0 - 0.7;
            let angle = x * std::f32::consts::TAU;
            assert!((sine(x) - angle.sin()).abs() < 0.003, "sine {x}");
            assert!((cosine(x) - angle.cos()).abs() < 0.003, "cosine {x}");
            let density = i as f32 / 500.0;
            assert!((transmitted(density) - (-density).exp()).abs() < 0.04);
            assert!(noise(x * 20.0, 3.0, 1).abs() <= 1.0);
        }
    }
}
