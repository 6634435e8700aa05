//! What is known of a field: which pixel is of which cell.

use super::distance::{MIDDLE, depths};
use crate::dense::Crop;

/// The cells of a field pixel by pixel.
#[derive(Clone, Debug)]
pub struct LabelledCells {
    width: usize,
    height: usize,
    /// The cell of each pixel, row after row; 0 where there is none.
    ids: Vec<u16>,
    /// How deep in its cell each pixel lies. It is measured once: a crop turns and stretches a cell, and neither changes
    /// a distance as a part of the cell's largest; of a cell that it cuts, the truth stays that of the whole one.
    depths: Vec<u8>,
    /// By id.
    classes: Vec<u16>,
    /// Of each cell, by id; `None` for an id that no pixel has.
    centers: Vec<Option<[f32; 2]>>,
}

/// Ids that label no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    #[error("labels of {width} x {height} pixels are as many ids and {given} were given")]
    Size {
        width: usize,
        height: usize,
        given: usize,
    },
    #[error("cell {id} is of class {class}, the largest is 65535")]
    Class { id: u16, class: usize },
}

/// What a crop shows of the cells.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenCells {
    /// For each pixel of the crop 0 for the background, 1 for the first class and so on, or [`UNKNOWN`].
    pub(super) classes: Vec<u32>,
    /// How deep in its cell each pixel lies, from 0 to 1.
    pub(super) depths: Vec<f32>,
}

/// Beyond the field.
pub(super) const UNKNOWN: u32 = u32::MAX;

impl LabelledCells {
    /// `ids`: row after row, 0 where there is no cell. `class_of` tells the class, from 0, of every id that occurs.
    pub fn new(
        width: usize,
        height: usize,
        ids: Vec<u16>,
        class_of: impl Fn(u16) -> usize,
    ) -> Result<Self, LabelsError> {
        if width.checked_mul(height) != Some(ids.len()) {
            let given = ids.len();
            return Err(LabelsError::Size {
                width,
                height,
                given,
            });
        }
        let n = ids.iter().max().map_or(0, |it| usize::from(*it)) + 1;
        let mut sums = vec![([0_u64; 2], 0_u64); n];
        for (at, id) in ids.iter().enumerate() {
            let (sum, area) = &mut sums[usize::from(*id)];
            sum[0] += (at % width) as u64;
            sum[1] += (at / width) as u64;
            *area += 1;
        }
        let center = |([x, y], area): &([u64; 2], u64)| {
            let mean = |it: u64| (it as f64 / *area as f64 + 0.5) as f32;
            (*area > 0).then(|| [mean(*x), mean(*y)])
        };
        let mut centers: Vec<_> = sums.iter().map(center).collect();
        centers[0] = None;
        let mut classes = vec![0; n];
        for id in 1..n {
            if centers[id].is_some() {
                let class = class_of(id as u16);
                let refused = LabelsError::Class {
                    id: id as u16,
                    class,
                };
                classes[id] = u16::try_from(class).map_err(|_| refused)?;
            }
        }
        Ok(Self {
            width,
            height,
            depths: depths(&ids, width),
            ids,
            classes,
            centers,
        })
    }

    pub(super) const fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// The class of every cell.
    pub(super) fn classes(&self) -> impl Iterator<Item = usize> + '_ {
        let cells = self.classes.iter().zip(&self.centers);
        cells
            .filter(|it| it.1.is_some())
            .map(|it| usize::from(*it.0))
    }

    /// Of every cell.
    pub(super) fn centers(&self) -> Vec<[f32; 2]> {
        self.centers.iter().flatten().copied().collect()
    }

    pub(super) fn words(&self) -> Vec<u64> {
        let words = |all: &[u16]| -> Vec<u64> {
            let word = |it: &[u16]| it.iter().fold(0, |word, it| word << 16 | u64::from(*it));
            all.chunks(4).map(word).collect()
        };
        [words(&self.ids), words(&self.classes)].concat()
    }

    /// The pixel of the field under the centre of each of the crop's.
    pub(super) fn seen(&self, crop: &Crop) -> SeenCells {
        let n = crop.side * crop.side;
        let mut seen = SeenCells {
            classes: Vec::with_capacity(n),
            depths: Vec::with_capacity(n),
        };
        let (width, height) = (self.width as f32, self.height as f32);
        for v in 0..crop.side {
            for u in 0..crop.side {
                let [x, y] = crop.in_field([u as f32 + 0.5, v as f32 + 0.5]);
                let is_inside = (0.0..width).contains(&x) && (0.0..height).contains(&y);
                let at = y.max(0.0) as usize * self.width + x.max(0.0) as usize;
                let id = if is_inside {
                    usize::from(self.ids[at])
                } else {
                    0
                };
                seen.classes.push(match (is_inside, id) {
                    (false, _) => UNKNOWN,
                    (true, 0) => 0,
                    (true, id) => u32::from(self.classes[id]) + 1,
                });
                let depth = if id == 0 { 0 } else { self.depths[at] };
                seen.depths.push(f32::from(depth) / f32::from(MIDDLE));
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;

    fn two_cells() -> LabelledCells {
        let ids = vec![0, 7, 7, 0, 0, 7, 7, 0, 0, 0, 0, 9];
        LabelledCells::new(4, 3, ids, |id| usize::from(id == 9)).unwrap()
    }

    #[test]
    fn cells_have_centres_and_classes() {
        let it = two_cells();
        assert_eq!(it.centers(), [[2.0, 1.0], [3.5, 2.5]]);
        assert_eq!(it.classes().collect::<Vec<_>>(), [0, 1]);
        let refused = LabelledCells::new(4, 3, vec![0; 11], |_| 0).unwrap_err();
        assert!(refused.to_string().contains("11 were given"));
        assert!(LabelledCells::new(1, 1, vec![1], |_| 1 << 16).is_err());
    }

    #[test]
    fn a_crop_shows_what_lies_under_it_and_knows_nothing_beyond() {
        let crop = Crop {
            view: View::default(),
            scale: 2.0,
            left: 2.0,
            top: 1.0,
            side: 6,
        };
        let seen = two_cells().seen(&crop);
        let unknown = UNKNOWN;
        let above = [1, 1, 0, 0, unknown, unknown];
        let below = [0, 0, 2, 2, unknown, unknown];
        let expected = [above, above, below, below, [unknown; 6], [unknown; 6]].concat();
        assert_eq!(seen.classes, expected);
        assert!(
            seen.depths
                .iter()
                .zip(&seen.classes)
                .all(|(depth, class)| { (*depth > 0.0) == (1..=2).contains(class) })
        );
    }
}
