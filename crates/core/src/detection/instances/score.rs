//! The figures of the nuclei challenge of 2018 (Caicedo et al. 2019), F1 and Dice.

use serde::Serialize;

use super::overlap::{Overlap, Shared};
use crate::matching::Score;

/// Overlaps asked for: .50, .55, ... .95.
pub const N_STEPS: usize = 10;

/// The figures of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ImageFigures {
    pub n_truth: usize,
    pub n_found: usize,
    /// At an overlap above .50.
    pub f1: f64,
    /// `TP / (TP + FP + FN)` at an overlap above .50.
    pub ap50: f64,
    /// Its mean over the overlaps above .50, .55, ... .95.
    pub ap: f64,
    /// Of the foreground, whichever cell a pixel is of.
    pub dice: f64,
}

/// The figures of many images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MeanFigures {
    pub n_images: usize,
    /// Sums of the cells, and the means of the images' other figures.
    #[serde(flatten)]
    pub mean: ImageFigures,
    /// F1 at an overlap above .50 of the cells of all images together, so that crowded images weigh more.
    pub pooled_f1: f64,
}

impl Overlap {
    /// Counts found, false and missed cells at the overlap of step `k`, which is `.50 + .05 k`.
    ///
    /// A pair counts when it overlaps by more than that. Above a half no cell can have two partners, so nothing has to
    /// be chosen. The comparison is in whole numbers and exact.
    pub fn at_step(&self, k: usize) -> Score {
        let in_twentieths = 10 + k as u64;
        let is_hit = |it: &&Shared| 20 * it.pixels > in_twentieths * self.union(it);
        let tp = self.shared.iter().filter(is_hit).count();
        Score {
            tp,
            fp: self.found.len() - tp,
            fn_: self.truth.len() - tp,
        }
    }

    /// Twice the pixels that are of a cell in both, of those of a cell in either, each side counted; 1 without cells.
    pub fn dice(&self) -> f64 {
        let both: u64 = self.shared.iter().map(|it| it.pixels).sum();
        let cells = self.truth.iter().chain(&self.found);
        let all: u64 = cells.map(|it| it.area).sum();
        if all == 0 {
            1.0
        } else {
            2.0 * both as f64 / all as f64
        }
    }

    /// An image without cells in which none were found is perfect.
    pub fn figures(&self) -> ImageFigures {
        let steps: [Score; N_STEPS] = std::array::from_fn(|k| self.at_step(k));
        let sum: f64 = steps.iter().map(Score::critical_success).sum();
        ImageFigures {
            n_truth: self.truth.len(),
            n_found: self.found.len(),
            f1: steps[0].f1(),
            ap50: steps[0].critical_success(),
            ap: sum / N_STEPS as f64,
            dice: self.dice(),
        }
    }
}

impl MeanFigures {
    /// The figures of some images, in their order so that the sums are the same everywhere; `None` without images.
    pub fn of<'a>(overlaps: impl IntoIterator<Item = &'a Overlap>) -> Option<Self> {
        let mut all = Self::default();
        let mut counts = Score::default();
        for overlap in overlaps {
            let it = overlap.figures();
            counts += overlap.at_step(0);
            all.n_images += 1;
            all.mean.n_truth += it.n_truth;
            all.mean.n_found += it.n_found;
            all.mean.f1 += it.f1;
            all.mean.ap50 += it.ap50;
            all.mean.ap += it.ap;
            all.mean.dice += it.dice;
        }
        let n = (all.n_images > 0).then_some(all.n_images as f64)?;
        for figure in [
            &mut all.mean.f1,
            &mut all.mean.ap50,
            &mut all.mean.ap,
            &mut all.mean.dice,
        ] {
            *figure /= n;
        }
        all.pooled_f1 = counts.f1();
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOSE: f64 = 1e-12;

    /// Cells in a row of pixels.
    fn row(cells: &[(u32, usize, usize)], len: usize) -> Vec<u32> {
        let mut pixels = vec![0; len];
        for &(id, from, to) in cells {
            pixels[from..to].fill(id);
        }
        pixels
    }

    #[test]
    fn the_figures_are_those_worked_out_by_hand() {
        // Cell 1 overlaps by 8/10, cell 2 by exactly a half, cell 3 is missed, the found 9 is none.
        let truth = row(&[(1, 0, 10), (2, 20, 30), (3, 40, 50)], 100);
        let found = row(&[(5, 0, 8), (6, 20, 25), (9, 60, 70)], 100);
        let overlap = Overlap::between(&truth, &found).unwrap();
        assert_eq!(
            overlap.at_step(0),
            Score {
                tp: 1,
                fp: 2,
                fn_: 2
            }
        );
        assert_eq!(overlap.at_step(5).tp, 1, ".8 is more than .75");
        assert_eq!(overlap.at_step(6).tp, 0, "but not more than .80");
        let figures = overlap.figures();
        assert!((figures.f1 - 1.0 / 3.0).abs() < CLOSE);
        assert!((figures.ap50 - 0.2).abs() < CLOSE);
        assert!((figures.ap - 0.2 * 6.0 / 10.0).abs() < CLOSE);
        assert!((figures.dice - 26.0 / 53.0).abs() < CLOSE);

        let empty = Overlap::between(&[0_u16; 5], &[0_u16; 5]).unwrap();
        let mean = MeanFigures::of([&overlap, &empty]).unwrap();
        assert!((mean.mean.f1 - 2.0 / 3.0).abs() < CLOSE);
        assert!((mean.pooled_f1 - 1.0 / 3.0).abs() < CLOSE);
        assert_eq!((mean.n_images, mean.mean.n_truth), (2, 3));
        assert_eq!(MeanFigures::of([]), None);
    }

    /// The counts as their definition says it: every pair of cells, every pixel.
    fn by_definition(truth: &[u32], found: &[u32], k: usize) -> usize {
        let ids = |of: &[u32]| -> std::collections::BTreeSet<u32> {
            of.iter().copied().filter(|it| *it != 0).collect()
        };
        let mut hits = 0;
        for t in ids(truth) {
            for f in ids(found) {
                let pixels = || truth.iter().zip(found);
                let both = pixels().filter(|it| (*it.0, *it.1) == (t, f)).count();
                let either = pixels().filter(|it| *it.0 == t || *it.1 == f).count();
                hits += usize::from(both * 100 > either * (50 + 5 * k));
            }
        }
        hits
    }

    proptest! {
        #[test]
        fn counts_equal_their_definition(
            pixels in prop::collection::vec((0u32..4, 0u32..4, 1usize..12), 0..25),
            k in 0..N_STEPS,
        ) {
            let side = |of: fn(&(u32, u32, usize)) -> u32| -> Vec<u32> {
                pixels.iter().flat_map(|it| vec![of(it); it.2]).collect()
            };
            let (truth, found) = (side(|it| it.0), side(|it| it.1));
            let overlap = Overlap::between(&truth, &found).unwrap();
            let hits = by_definition(&truth, &found, k);
            prop_assert_eq!(overlap.at_step(k).tp, hits);
            prop_assert_eq!(overlap.at_step(k).fn_, overlap.truth.len() - hits);
            let figures = overlap.figures();
            for it in [figures.f1, figures.ap50, figures.ap, figures.dice] {
                prop_assert!((0.0..=1.0).contains(&it));
            }
            prop_assert!(figures.ap <= figures.ap50 + CLOSE);
        }

        #[test]
        fn other_ids_change_nothing_and_what_is_there_is_perfect(
            ids in prop::collection::vec(0u32..6, 1..200),
        ) {
            let renamed: Vec<u32> = ids.iter().map(|it| if *it == 0 { 0 } else { 1_000 - it }).collect();
            let figures = Overlap::between(&ids, &renamed).unwrap().figures();
            prop_assert!(figures.n_truth == figures.n_found);
            for it in [figures.f1, figures.ap50, figures.ap, figures.dice] {
                prop_assert!((it - 1.0).abs() < CLOSE);
            }
        }
    }

    #[test]
    fn a_large_picture_of_many_cells_is_no_matter() {
        const SIDE: u32 = 1000;
        // Ten thousand cells of ten by ten pixels, and the same one pixel further to the right.
        let id = |x: u32, y: u32| 1 + y / 10 * 100 + x / 10;
        let image = |shift: u32| -> Vec<u32> {
            let rows = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (x, y)));
            rows.map(|(x, y)| x.checked_sub(shift).map_or(0, |x| id(x, y)))
                .collect()
        };
        let overlap = Overlap::between(&image(0), &image(1)).unwrap();
        assert_eq!(
            overlap.at_step(0),
            Score {
                tp: 10_000,
                fp: 0,
                fn_: 0
            }
        );
        assert_eq!(overlap.at_step(7).tp, 100, "9 of 11 is .82, at the edge .9");
    }
}
