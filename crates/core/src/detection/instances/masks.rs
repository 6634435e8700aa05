//! Average precision of masks: as pycocotools computes it for `segm`, without run lengths in between.

use super::overlap::Overlap;
use crate::detection::assign::{Case, Goal, Guess};
use crate::detection::average_precision::of_cases;
use crate::detection::overlaps::{Candidate, Overlaps};
use crate::detection::{Evaluation, Settings};

/// A cell of the true label image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskTruth {
    pub id: u32,
    pub class: u32,
    /// As that of a [`Truth`](crate::detection::Truth).
    pub crowd: bool,
}

/// A cell of the found label image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskFound {
    pub id: u32,
    pub class: u32,
    /// Higher is surer.
    pub score: f64,
}

/// One image: its pixels counted, and what is known of each cell. A cell that is not listed is not there; one that is
/// listed but has no pixel is there and overlaps nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaskScene {
    pub overlap: Overlap,
    pub truth: Vec<MaskTruth>,
    pub found: Vec<MaskFound>,
}

/// The figures over all images; their order decides between equal scores.
pub fn mask_average_precision(scenes: &[MaskScene], settings: &Settings) -> Evaluation {
    of_cases(scenes.iter().map(MaskScene::case), settings)
}

impl MaskScene {
    fn case(&self) -> Case {
        let truths = self.truth.iter().map(|it| Goal {
            class: it.class,
            crowd: it.crowd,
        });
        let founds = self.found.iter().map(|it| Guess {
            class: it.class,
            score: it.score,
        });
        Case {
            truths: truths.collect(),
            founds: founds.collect(),
            overlaps: self.overlaps(),
        }
    }

    fn overlaps(&self) -> Overlaps {
        let mut listed = vec![None; self.overlap.truth.len()];
        for (at, truth) in self.truth.iter().enumerate() {
            if let Some(it) = self.overlap.truth_of(truth.id) {
                listed[it] = Some(at);
            }
        }
        let mut of_found = vec![Vec::new(); self.overlap.found.len()];
        for it in &self.overlap.shared {
            let Some(truth) = listed[it.truth] else {
                continue;
            };
            let overlap = if self.truth[truth].crowd {
                it.pixels as f64 / self.overlap.found[it.found].area as f64
            } else {
                self.overlap.iou(it)
            };
            of_found[it.found].push(Candidate { truth, overlap });
        }
        let mut overlaps = Overlaps::default();
        for found in &self.found {
            let at = self.overlap.found_of(found.id);
            overlaps.push(at.map_or(&[][..], |it| &of_found[it]).iter().copied());
        }
        overlaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_scored_as_boxes_are() {
        // Two cells of one row: the first found whole, the second to a half, and a third that is none.
        let truth: Vec<u32> = [[4; 10], [6; 10], [0; 10]].concat();
        let found: Vec<u32> = [[1; 10], [2; 10], [3; 10]].concat();
        let mut found_of_6 = found.clone();
        found_of_6[15..20].fill(0);
        let scene = MaskScene {
            overlap: Overlap::between(&truth, &found_of_6).unwrap(),
            truth: [4, 6]
                .map(|id| MaskTruth {
                    id,
                    class: 1,
                    crowd: false,
                })
                .to_vec(),
            found: [(1, 0.9), (2, 0.8), (3, 0.85)]
                .map(|(id, score)| MaskFound {
                    id,
                    class: 1,
                    score,
                })
                .to_vec(),
        };
        let figures = mask_average_precision(&[scene], &Settings::default()).overall;
        // At .50: precision 1 up to recall .5, 51 of 101 points; then 2/3.
        let ap50 = (51.0 + 50.0 * 2.0 / 3.0) / 101.0;
        assert!((figures.ap50.unwrap() - ap50).abs() < 1e-12);
        assert!((figures.ap75.unwrap() - 51.0 / 101.0).abs() < 1e-12);
        assert!((figures.ar.unwrap() - 0.55).abs() < 1e-12);
    }
}
