//! Boxes in upright image pixels, and the square crops cut from them.

use serde::{Deserialize, Serialize};

/// An axis-aligned box in pixels of the upright image: left and top inside,
/// right and bottom outside (`x2 - x1` is the width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BBox {
    pub x1: u32,
    pub y1: u32,
    pub x2: u32,
    pub y2: u32,
}

impl BBox {
    pub const fn new(x1: u32, y1: u32, x2: u32, y2: u32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    pub const fn width(&self) -> u32 {
        self.x2.saturating_sub(self.x1)
    }

    pub const fn height(&self) -> u32 {
        self.y2.saturating_sub(self.y1)
    }

    pub const fn area(&self) -> u64 {
        self.width() as u64 * self.height() as u64
    }

    pub const fn is_empty(&self) -> bool {
        self.width() == 0 || self.height() == 0
    }

    /// Is the whole box inside an image of `w` x `h` pixels, and not empty?
    pub const fn fits(&self, w: u32, h: u32) -> bool {
        !self.is_empty() && self.x2 <= w && self.y2 <= h
    }

    /// Twice the centre, so that halves stay exact: `(x1 + x2, y1 + y2)`.
    pub const fn doubled_center(&self) -> (u64, u64) {
        (
            self.x1 as u64 + self.x2 as u64,
            self.y1 as u64 + self.y2 as u64,
        )
    }

    /// The centre as numbers, `.5` where the width or height is odd.
    pub fn center(&self) -> (f64, f64) {
        (
            f64::from(self.x1) / 2.0 + f64::from(self.x2) / 2.0,
            f64::from(self.y1) / 2.0 + f64::from(self.y2) / 2.0,
        )
    }

    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let cut = Self::new(
            self.x1.max(other.x1),
            self.y1.max(other.y1),
            self.x2.min(other.x2),
            self.y2.min(other.y2),
        );
        (!cut.is_empty()).then_some(cut)
    }

    /// Intersection over union, 0 for boxes that do not touch.
    pub fn iou(&self, other: &Self) -> f64 {
        let shared = self.intersection(other).map_or(0, |it| it.area());
        let union = self.area() + other.area() - shared;
        if union == 0 {
            0.0
        } else {
            shared as f64 / union as f64
        }
    }

    /// The part of a possibly outlying box that lies in the image; `None` when nothing does.
    pub fn clamped(x1: i64, y1: i64, x2: i64, y2: i64, w: u32, h: u32) -> Option<Self> {
        let clamp = |v: i64, max: u32| v.clamp(0, i64::from(max)) as u32;
        let cut = Self::new(clamp(x1, w), clamp(y1, h), clamp(x2, w), clamp(y2, h));
        (!cut.is_empty()).then_some(cut)
    }
}

/// The square to cut around a centre (FORMATS A.9, decisions 4 and 14).
///
/// The side is `size`, or what the image allows; `x1 = floor(cx - side / 2)`,
/// likewise `y1`; then the square is shifted
/// inside the image, so an image smaller than `size` gives the largest square that
/// fits. `size` 0 means the default of 100.
///
/// ```
/// use cellmill_core::boxes::{BBox, square_crop};
/// assert_eq!(square_crop(10.0, 10.0, 100, 2448, 2048), BBox::new(0, 0, 100, 100));
/// assert_eq!(square_crop(60.0, 60.0, 100, 80, 80), BBox::new(0, 0, 80, 80));
/// ```
pub fn square_crop(cx: f64, cy: f64, size: u32, w: u32, h: u32) -> BBox {
    let wanted = if size == 0 { DEFAULT_CROP_SIZE } else { size };
    let side = wanted.min(w).min(h);
    let half = f64::from(side) / 2.0;
    let low =
        |center: f64, extent: u32| ((center - half).floor().max(0.0) as u32).min(extent - side);
    let (x1, y1) = (low(cx, w), low(cy, h));
    BBox::new(x1, y1, x1 + side, y1 + side)
}

/// `parameter_size` when nobody chose one (FORMATS A.9.1).
pub const DEFAULT_CROP_SIZE: u32 = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn crops_follow_the_vectors_of_the_formats() {
        let (w, h) = (2448, 2048);
        for (cx, cy, size, w, h, want) in [
            (1000.0, 1000.0, 100, w, h, (950, 950, 1050, 1050)),
            (10.0, 1000.0, 100, w, h, (0, 950, 100, 1050)),
            (1000.0, 10.0, 100, w, h, (950, 0, 1050, 100)),
            (10.0, 10.0, 100, w, h, (0, 0, 100, 100)),
            (10.0, 30.0, 100, w, h, (0, 0, 100, 100)),
            (2440.0, 1000.0, 100, w, h, (2348, 950, 2448, 1050)),
            (1000.0, 2040.0, 100, w, h, (950, 1948, 1050, 2048)),
            (2440.0, 2040.0, 100, w, h, (2348, 1948, 2448, 2048)),
            (10.0, 2040.0, 100, w, h, (0, 1948, 100, 2048)),
            (10.5, 1000.0, 100, w, h, (0, 950, 100, 1050)),
            (1000.0, 1000.0, 101, w, h, (949, 949, 1050, 1050)),
            (60.0, 60.0, 100, 80, 80, (0, 0, 80, 80)),
        ] {
            let got = square_crop(cx, cy, size, w, h);
            assert_eq!(
                (got.x1, got.y1, got.x2, got.y2),
                want,
                "centre {cx},{cy} size {size}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_crop_is_square_inside_and_as_large_as_it_can_be(
            cx in -50.0..5000.0f64, cy in -50.0..5000.0f64, size in 1u32..600, w in 1u32..4000, h in 1u32..4000,
        ) {
            let cut = square_crop(cx, cy, size, w, h);
            prop_assert!(cut.fits(w, h));
            prop_assert_eq!(cut.width(), cut.height());
            prop_assert_eq!(cut.width(), size.min(w).min(h));
        }

        #[test]
        fn overlap_is_symmetric_and_at_most_one(a in any_box(), b in any_box()) {
            prop_assert_eq!(a.iou(&b).to_bits(), b.iou(&a).to_bits());
            prop_assert!((0.0..=1.0).contains(&a.iou(&b)));
            prop_assert!((a.iou(&a) - 1.0).abs() < 1e-12);
        }
    }

    fn any_box() -> impl Strategy<Value = BBox> {
        (0u32..500, 0u32..500, 1u32..100, 1u32..100)
            .prop_map(|(x, y, w, h)| BBox::new(x, y, x + w, y + h))
    }
}
