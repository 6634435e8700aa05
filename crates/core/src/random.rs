//! Numbers drawn from a seed: the same on every machine.
//!
//! [`SplitMix`] is for everything of our own. [`NumpyRandom`] reproduces the permutations that the predecessors drew.

/// `SplitMix64` (Steele, Lea, Flood 2014): small, fast, and good enough to shuffle with.
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        // 64 bits times n, its upper half: no bias that a shuffle could show.
        ((self.next_u64() as u128 * n as u128) >> 64) as u64
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let with = self.below(at as u64 + 1) as usize;
            items.swap(at, with);
        }
    }
}

/// numpy's `RandomState(seed)`: MT19937 with its first way of seeding.
#[derive(Clone, Debug)]
pub struct NumpyRandom {
    state: Vec<u32>,
    at: usize,
}

impl NumpyRandom {
    const N: usize = 624;
    const M: usize = 397;

    pub fn new(seed: u32) -> Self {
        let mut state = vec![seed; Self::N];
        for at in 1..Self::N {
            let before = state[at - 1];
            state[at] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(at as u32);
        }
        Self { state, at: Self::N }
    }

    fn next_u32(&mut self) -> u32 {
        if self.at == Self::N {
            self.twist();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for at in 0..Self::N {
            let y = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % Self::N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + Self::M) % Self::N] ^ (y >> 1) ^ odd;
        }
        self.at = 0;
    }

    /// A number of 0 to `max`, by masking and trying again.
    fn up_to(&mut self, max: u32) -> u32 {
        let mask = u32::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `RandomState.permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut items: Vec<usize> = (0..n).collect();
        for at in (1..n).rev() {
            let with = self.up_to(at as u32) as usize;
            items.swap(at, with);
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_its_published_numbers() {
        let mut it = SplitMix::new(1_234_567);
        assert_eq!(it.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(it.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_its_seed_decides() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..100).collect();
            SplitMix::new(seed).shuffle(&mut items);
            items
        };
        let mut sorted = shuffled(1);
        assert_ne!(sorted, shuffled(2));
        assert_eq!(sorted, shuffled(1));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn permutations_of_one_item_and_none() {
        assert_eq!(NumpyRandom::new(42).permutation(0), [0; 0]);
        assert_eq!(NumpyRandom::new(42).permutation(1), [0]);
    }
}
