//! Finding near codes by looking at all of them.

use std::collections::BinaryHeap;

use crate::{Code, LengthsDiffer};

/// A code that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// Hamming distance to the query.
    pub distance: u32,
    /// The id that the code was added with.
    pub id: u64,
}

/// Codes of one length with their ids, in memory.
///
/// Hits are sorted by (distance, id), so equal content gives equal answers in whatever order it was added
/// (decision 12 of FORMATS).
#[derive(Clone, Debug)]
pub struct Scan {
    n_bits: usize,
    bits: Vec<u64>,
    ids: Vec<u64>,
}

impl Scan {
    /// An empty one for codes of `n_bits` bits.
    pub const fn new(n_bits: usize) -> Self {
        Self {
            n_bits,
            bits: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// Adds a code. Ids need not be unique: each added code is a hit of its own.
    pub fn push(&mut self, id: u64, code: Code) -> Result<(), LengthsDiffer> {
        self.check(&code)?;
        self.bits.push(code.bits());
        self.ids.push(id);
        Ok(())
    }

    /// How many codes it holds.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Holds it no code?
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// All codes at most `radius` bits away from `query`.
    pub fn within(&self, query: &Code, radius: u32) -> Result<Vec<Hit>, LengthsDiffer> {
        self.check(query)?;
        let mut hits: Vec<Hit> = self
            .hits(query)
            .filter(|it| it.distance <= radius)
            .collect();
        hits.sort_unstable();
        Ok(hits)
    }

    /// The `k` nearest codes, fewer when there are fewer.
    pub fn nearest(&self, query: &Code, k: usize) -> Result<Vec<Hit>, LengthsDiffer> {
        self.check(query)?;
        // The farthest of the best k is on top, ready to be replaced.
        let mut best = BinaryHeap::with_capacity(k.min(self.len()));
        for hit in self.hits(query) {
            if best.len() < k {
                best.push(hit);
            } else if let Some(mut farthest) = best.peek_mut()
                && hit < *farthest
            {
                *farthest = hit;
            }
        }
        Ok(best.into_sorted_vec())
    }

    fn hits(&self, query: &Code) -> impl Iterator<Item = Hit> + '_ {
        let query = query.bits();
        self.bits
            .iter()
            .zip(&self.ids)
            .map(move |(&bits, &id)| Hit {
                distance: (bits ^ query).count_ones(),
                id,
            })
    }

    fn check(&self, code: &Code) -> Result<(), LengthsDiffer> {
        if code.n_bits() == self.n_bits {
            return Ok(());
        }
        Err(LengthsDiffer {
            ours: self.n_bits,
            theirs: code.n_bits(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything by its definition: all distances character by character, sorted.
    fn naive(texts: &[String], query: &str) -> Vec<Hit> {
        let distance = |text: &String| {
            text.chars()
                .zip(query.chars())
                .filter(|(a, b)| a != b)
                .count() as u32
        };
        let mut hits: Vec<Hit> = (0..)
            .zip(texts)
            .map(|(id, text)| Hit {
                distance: distance(text),
                id,
            })
            .collect();
        hits.sort();
        hits
    }

    proptest! {
        #[test]
        fn a_scan_equals_its_definition(
            texts in prop::collection::vec("[01]{12}", 0..80),
            query in "[01]{12}",
            radius in 0u32..13,
            k in 0usize..90,
        ) {
            let mut scan = Scan::new(12);
            // Added from the back: the order must not show.
            for (id, text) in texts.iter().enumerate().rev() {
                scan.push(id as u64, text.parse().unwrap()).unwrap();
            }
            let (all, query) = (naive(&texts, &query), query.parse().unwrap());
            let near: Vec<Hit> = all.iter().copied().filter(|it| it.distance <= radius).collect();
            prop_assert_eq!(scan.within(&query, radius).unwrap(), near);
            prop_assert_eq!(scan.nearest(&query, k).unwrap(), &all[..k.min(all.len())]);
        }
    }

    #[test]
    fn codes_of_another_length_are_refused() {
        let mut scan = Scan::new(48);
        let short: Code = "0101".parse().unwrap();
        let differ = LengthsDiffer {
            ours: 48,
            theirs: 4,
        };
        assert_eq!(scan.push(1, short), Err(differ));
        assert_eq!(scan.within(&short, 5), Err(differ));
        assert_eq!(scan.nearest(&short, 5), Err(differ));
        assert!(scan.is_empty());
    }
}
