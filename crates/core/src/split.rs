//! Which cells a network learns from, which decide when to stop, and which judge it.
//!
//! The cells of one patient must not stand on both sides, so whole groups (cases) are dealt out, such that every class
//! is spread over the parts as asked for. The deal depends on what the groups hold and on the seed, never on names.

use serde::{Deserialize, Serialize};

use crate::random::{NumpyRandom, SplitMix};

/// What a cell is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The network learns from it.
    Train,
    /// It decides which epoch was the best, the temperature and the thresholds.
    Validation,
    /// It is looked at once, at the end.
    Test,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// How cells are dealt out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum SplitRule {
    /// Whole cases, stratified by class: 70 % train, 15 % validation, 15 % test. Data of fewer than three cases is
    /// dealt out by image, and the report says so.
    #[default]
    Case,
    /// Whole images.
    Image,
    /// These cases judge (`<batch>/<case>`, or the case alone); the others are train and validation, 85 to 15.
    Cases { test: Vec<String> },
    /// As the folders said that the images came from. Where they had no test part, the validation part judges, and a
    /// part of train decides when to stop.
    Fixed,
    /// As the predecessor did: by cell, not stratified, 20 % test (`random_state` 42), no validation (FORMATS A.10).
    Legacy,
}

/// Cells that stay together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Made of the content: equal content, equal deal, whatever it is called.
    pub digest: u64,
    /// How many cells of each class it has.
    pub counts: Vec<u64>,
}

/// How many orders of the groups are tried.
const TRIES: u64 = 32;

/// Deals groups into parts of these shares (which sum up to 1), so that every class has about the same shares.
///
/// Each try takes the groups in another seeded order and puts each where it is missed most; the best try stands.
/// Returns the part of each group, as an index into `shares`.
pub fn deal(groups: &[Group], shares: &[f64], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    // Where the caller's order comes from names, it must not count.
    order.sort_by(|&a, &b| {
        let key = |it: usize| (groups[it].digest, &groups[it].counts);
        key(a).cmp(&key(b))
    });
    let mut best: Option<(f64, Vec<usize>)> = None;
    for attempt in 0..TRIES {
        let mut order = order.clone();
        SplitMix::new(seed ^ attempt.wrapping_mul(0xd6e8_feb8_6659_fd93)).shuffle(&mut order);
        // Large groups first, as the small ones can still even things out.
        order.sort_by_key(|&it| std::cmp::Reverse(size_class(&groups[it])));
        let dealt = Deal::of(groups, shares, &order);
        if best.as_ref().is_none_or(|(cost, _)| dealt.0 < *cost) {
            best = Some(dealt);
        }
    }
    best.map(|(_, parts)| parts).unwrap_or_default()
}

/// Groups of about the same size are interchangeable: the seed decides their order.
fn size_class(group: &Group) -> u32 {
    group.counts.iter().sum::<u64>().max(1).ilog2()
}

struct Deal<'a> {
    shares: &'a [f64],
    totals: Vec<f64>,
    /// Per part and class.
    filled: Vec<Vec<f64>>,
}

impl Deal<'_> {
    fn of(groups: &[Group], shares: &[f64], order: &[usize]) -> (f64, Vec<usize>) {
        let n_classes = groups.first().map_or(0, |it| it.counts.len());
        let total = |class: usize| groups.iter().map(|it| it.counts[class] as f64).sum();
        let mut deal = Deal {
            shares,
            totals: (0..n_classes).map(total).collect(),
            filled: vec![vec![0.0; n_classes]; shares.len()],
        };
        let mut parts = vec![0; groups.len()];
        for &at in order {
            let costs = (0..shares.len()).map(|part| deal.change(part, &groups[at]));
            let cheapest = costs
                .enumerate()
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map_or(0, |(part, _)| part);
            for (sum, &count) in deal.filled[cheapest].iter_mut().zip(&groups[at].counts) {
                *sum += count as f64;
            }
            parts[at] = cheapest;
        }
        (deal.cost(), parts)
    }

    /// How far one part is from its share of one class; an empty part is far worse than a small one.
    fn distance(&self, part: usize, class: usize, filled: f64) -> f64 {
        if self.totals[class] == 0.0 {
            return 0.0;
        }
        let off = (filled / self.totals[class] - self.shares[part]) / self.shares[part].max(1e-9);
        let empty = if filled == 0.0 { 1.0 } else { 0.0 };
        off * off + empty
    }

    fn change(&self, part: usize, group: &Group) -> f64 {
        let of_class = |(class, &count): (usize, &u64)| {
            let before = self.filled[part][class];
            self.distance(part, class, before + count as f64) - self.distance(part, class, before)
        };
        group.counts.iter().enumerate().map(of_class).sum()
    }

    fn cost(&self) -> f64 {
        let of_part = |part: usize| {
            let classes = self.filled[part].iter().enumerate();
            classes
                .map(|(class, &filled)| self.distance(part, class, filled))
                .sum::<f64>()
        };
        (0..self.shares.len()).map(of_part).sum()
    }
}

/// The predecessor's split: the places of the test and of the train cells, each in its own order.
///
/// `train_test_split(test_size=0.2, random_state=42)` of scikit-learn (FORMATS A.10).
pub fn legacy(n: usize) -> (Vec<usize>, Vec<usize>) {
    let n_test = n.div_ceil(5);
    let mut test = NumpyRandom::new(42).permutation(n);
    let train = test.split_off(n_test);
    (test, train)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_legacy_split_has_its_vectors() {
        assert_eq!(legacy(5), (vec![1], vec![4, 2, 0, 3]));
        assert_eq!(legacy(10), (vec![8, 1], vec![5, 0, 7, 2, 9, 4, 3, 6]));
        let train = vec![
            12, 1, 13, 5, 2, 11, 20, 3, 4, 18, 16, 21, 22, 7, 10, 14, 19, 6,
        ];
        assert_eq!(legacy(23), (vec![15, 9, 0, 8, 17], train));
    }

    fn groups(n: usize) -> Vec<Group> {
        let mut random = SplitMix::new(9);
        let group = |digest| Group {
            digest,
            counts: vec![20 + random.below(30), random.below(6), random.below(4)],
        };
        (0..n as u64).map(group).collect()
    }

    #[test]
    fn every_class_is_spread_as_asked_for() {
        let groups = groups(40);
        let shares = [0.7, 0.15, 0.15];
        let parts = deal(&groups, &shares, 1);
        for class in 0..3 {
            let sum = |part: Option<usize>| -> u64 {
                let chosen = groups.iter().zip(&parts);
                chosen
                    .filter(|(_, it)| part.is_none_or(|part| **it == part))
                    .map(|(group, _)| group.counts[class])
                    .sum()
            };
            for (part, share) in shares.iter().enumerate() {
                let got = sum(Some(part)) as f64 / sum(None) as f64;
                assert!(
                    (got - share).abs() < 0.05,
                    "class {class}, part {part}: {got}"
                );
            }
        }
    }

    #[test]
    fn neither_names_nor_order_count_and_the_seed_does() {
        let groups = groups(40);
        let mut turned = groups.clone();
        turned.reverse();
        let mut parts = deal(&turned, &[0.8, 0.2], 7);
        parts.reverse();
        assert_eq!(parts, deal(&groups, &[0.8, 0.2], 7));
        assert_ne!(parts, deal(&groups, &[0.8, 0.2], 8));
    }

    #[test]
    fn three_groups_of_one_size_fill_three_parts() {
        let group = |digest| Group {
            digest,
            counts: vec![5, 5],
        };
        let mut parts = deal(&[group(1), group(2), group(3)], &[0.7, 0.15, 0.15], 3);
        parts.sort_unstable();
        assert_eq!(parts, [0, 1, 2]);
        assert_eq!(deal(&[], &[0.5, 0.5], 1), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_group_has_one_part(counts in proptest::collection::vec((0u64..50, 0u64..5), 0..30), seed: u64) {
            let groups: Vec<Group> = counts.iter().zip(0..)
                .map(|(&(a, b), digest)| Group { digest, counts: vec![a, b] })
                .collect();
            let parts = deal(&groups, &[0.7, 0.15, 0.15], seed);
            prop_assert_eq!(parts.len(), groups.len());
            prop_assert!(parts.iter().all(|&it| it < 3));
        }
    }
}
