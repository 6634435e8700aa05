//! Which cells of two label images share pixels, and how many.

use std::collections::{BTreeMap, HashMap};

/// A cell of a label image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its value in the label image, not 0.
    pub id: u32,
    /// In pixels.
    pub area: u64,
}

/// A true and a found cell, by index, that share pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shared {
    pub truth: usize,
    pub found: usize,
    pub pixels: u64,
}

/// All that scores need to know of two label images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Ascending by id.
    pub truth: Vec<Instance>,
    /// Ascending by id.
    pub found: Vec<Instance>,
    /// Ascending by truth, then found; only pairs that share a pixel.
    pub shared: Vec<Shared>,
}

/// Two label images that cannot be of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the truth has {truth} pixels, what was found has {found}")]
pub struct SizesDiffer {
    pub truth: usize,
    pub found: usize,
}

impl Overlap {
    /// Goes over the pixels once. Both are in rows without padding, of the same width.
    ///
    /// ```
    /// use cellmill_core::detection::instances::{Overlap, Shared};
    /// let overlap = Overlap::between(&[7_u16, 7, 0, 9], &[0_u16, 1, 1, 1]).unwrap();
    /// assert_eq!((overlap.truth[0].area, overlap.found[0].area), (2, 3));
    /// assert_eq!(overlap.shared[1], Shared { truth: 1, found: 0, pixels: 1 });
    /// ```
    pub fn between<T, F>(truth: &[T], found: &[F]) -> Result<Self, SizesDiffer>
    where
        T: Copy + Into<u32>,
        F: Copy + Into<u32>,
    {
        if truth.len() != found.len() {
            return Err(SizesDiffer {
                truth: truth.len(),
                found: found.len(),
            });
        }
        let pairs = count_pairs(
            truth
                .iter()
                .zip(found)
                .map(|(&truth, &found)| (truth.into(), found.into())),
        );
        let (mut truths, mut founds) = (BTreeMap::new(), BTreeMap::new());
        for (&(truth, found), pixels) in &pairs {
            *truths.entry(truth).or_default() += pixels;
            *founds.entry(found).or_default() += pixels;
        }
        let (truth, found) = (instances(&truths), instances(&founds));
        let mut shared: Vec<_> = pairs
            .into_iter()
            .filter_map(|((truth_id, found_id), pixels)| {
                Some(Shared {
                    truth: index_of(&truth, truth_id)?,
                    found: index_of(&found, found_id)?,
                    pixels,
                })
            })
            .collect();
        shared.sort_unstable();
        Ok(Self {
            truth,
            found,
            shared,
        })
    }

    /// The pixels that are in either cell of a pair.
    pub fn union(&self, shared: &Shared) -> u64 {
        self.truth[shared.truth].area + self.found[shared.found].area - shared.pixels
    }

    /// Intersection over union of a pair.
    pub fn iou(&self, shared: &Shared) -> f64 {
        shared.pixels as f64 / self.union(shared) as f64
    }

    /// The index of a true cell with this id.
    pub fn truth_of(&self, id: u32) -> Option<usize> {
        index_of(&self.truth, id)
    }

    /// The index of a found cell with this id.
    pub fn found_of(&self, id: u32) -> Option<usize> {
        index_of(&self.found, id)
    }
}

/// How many pixels each pair of ids has. Neighbours mostly have the same, so that a run costs one look-up.
fn count_pairs(mut pixels: impl Iterator<Item = (u32, u32)>) -> HashMap<(u32, u32), u64> {
    let mut counts = HashMap::new();
    let Some(mut pair) = pixels.next() else {
        return counts;
    };
    let mut run = 1_u64;
    for next in pixels {
        if next == pair {
            run += 1;
        } else {
            *counts.entry(pair).or_default() += run;
            (pair, run) = (next, 1);
        }
    }
    *counts.entry(pair).or_default() += run;
    counts
}

fn instances(areas: &BTreeMap<u32, u64>) -> Vec<Instance> {
    let cells = areas.iter().filter(|(id, _)| **id != 0);
    cells.map(|(&id, &area)| Instance { id, area }).collect()
}

fn index_of(instances: &[Instance], id: u32) -> Option<usize> {
    instances.binary_search_by_key(&id, |it| it.id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_other_sizes_are_not_compared() {
        let refused = Overlap::between(&[1_u16; 4], &[1_u32; 5]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the truth has 4 pixels, what was found has 5"
        );
    }

    #[test]
    fn background_is_no_cell() {
        let overlap = Overlap::between(&[0_u16, 0, 3], &[5_u32, 0, 0]).unwrap();
        assert_eq!(overlap.truth, [Instance { id: 3, area: 1 }]);
        assert_eq!(overlap.found, [Instance { id: 5, area: 1 }]);
        assert_eq!(overlap.shared, []);
        assert_eq!(
            Overlap::between(&[0_u16; 0], &[0_u16; 0]),
            Ok(Overlap::default())
        );
    }
}
