//! The pixels of a crop.

use super::crop::Crop;
use super::picture::Picture;

impl Crop {
    /// Hands on each pixel of the crop, row after row: the mean of the four field pixels around its centre by their
    /// nearness, `None` outside of the field.
    pub(super) fn each_pixel(&self, picture: &Picture, mut each: impl FnMut(Option<[f32; 3]>)) {
        let (last_x, last_y) = (picture.width as f32 - 0.5, picture.height as f32 - 0.5);
        for v in 0..self.side {
            for u in 0..self.side {
                let [x, y] = self.in_field([u as f32 + 0.5, v as f32 + 0.5]);
                if x < -0.5 || y < -0.5 || x > last_x + 1.0 || y > last_y + 1.0 {
                    each(None);
                    continue;
                }
                let (x, y) = (x.clamp(0.5, last_x) - 0.5, y.clamp(0.5, last_y) - 0.5);
                let (left, top) = (x as usize, y as usize);
                let (right, bottom) = (
                    (left + 1).min(picture.width - 1),
                    (top + 1).min(picture.height - 1),
                );
                let (of_right, of_bottom) = (x - left as f32, y - top as f32);
                let above = [left, right].map(|it| picture.pixel(it, top));
                let below = [left, right].map(|it| picture.pixel(it, bottom));
                each(Some(std::array::from_fn(|at| {
                    let across = |it: [[f32; 3]; 2]| it[0][at] + of_right * (it[1][at] - it[0][at]);
                    let (above, below) = (across(above), across(below));
                    above + of_bottom * (below - above)
                })));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;

    #[test]
    fn a_crop_at_the_fields_own_size_has_its_pixels() {
        let pixels: Vec<u8> = (0..7 * 5 * 3).map(|it| (it * 11 % 256) as u8).collect();
        let picture = Picture::new(7, 5, pixels).unwrap();
        let crop = Crop {
            view: View::default(),
            scale: 1.0,
            left: 2.0,
            top: 1.0,
            side: 4,
        };
        let mut seen = Vec::new();
        crop.each_pixel(&picture, |it| seen.push(it));
        for (at, it) in seen.iter().enumerate() {
            assert_eq!(*it, Some(picture.pixel(2 + at % 4, 1 + at / 4)));
        }
        let beside = Crop {
            left: 100.0,
            ..crop
        };
        beside.each_pixel(&picture, |it| assert_eq!(it, None));
    }
}
