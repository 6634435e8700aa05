//! Which part of a field a network sees in training, and how it lies there.

use super::picture::Picture;
use crate::rng::Rng;
use crate::view::View;

/// A square view on a field: turned, mirrored, larger or smaller. Places are in pixels, from the upper left corner of
/// the upper left pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    pub(crate) view: View,
    /// Pixels of the crop for one of the field.
    pub(crate) scale: f32,
    /// Where the crop begins in the field, before it is turned.
    pub(crate) left: f32,
    pub(crate) top: f32,
    pub(crate) side: usize,
}

impl Crop {
    /// Where a place of the crop lies in the field.
    pub fn in_field(&self, [u, v]: [f32; 2]) -> [f32; 2] {
        let side = self.side as f32;
        let u = if self.view.mirror { side - u } else { u };
        let [x, y] = match self.view.turns {
            0 => [u, v],
            1 => [side - v, u],
            2 => [side - u, side - v],
            _ => [v, side - u],
        };
        [self.left + x / self.scale, self.top + y / self.scale]
    }

    /// Where a place of the field lies in the crop, or outside of it.
    pub fn of_field(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let side = self.side as f32;
        let (x, y) = ((x - self.left) * self.scale, (y - self.top) * self.scale);
        let [u, v] = match self.view.turns {
            0 => [x, y],
            1 => [y, side - x],
            2 => [side - x, side - y],
            _ => [side - y, x],
        };
        [if self.view.mirror { side - u } else { u }, v]
    }

    /// A box `[x1, y1, x2, y2]` of the field as it lies in the crop, whatever of it is inside.
    pub fn box_of_field(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let (a, b) = (self.of_field([x1, y1]), self.of_field([x2, y2]));
        [
            a[0].min(b[0]),
            a[1].min(b[1]),
            a[0].max(b[0]),
            a[1].max(b[1]),
        ]
    }

    /// A crop of a field. Half of the crops lie over one of `centers`, the others anywhere; as far as there is
    /// enough of it, they show the field alone.
    pub(super) fn draw(
        picture: &Picture,
        side: usize,
        scale_jitter: f64,
        turns: bool,
        centers: &[[f32; 2]],
        rng: &mut Rng,
    ) -> Self {
        let (mirror, quarter) = (rng.chance(0.5), rng.below(4));
        let reach = scale_jitter.ln_1p();
        let scale = rng.between(-reach, reach).exp() as f32;
        let (aimed, at) = (rng.chance(0.5), rng.below(centers.len().max(1)));
        let places = [rng.uniform(), rng.uniform()];
        let shown = side as f32 / scale;
        let begin = |center: Option<f32>, length: usize, place: f64| {
            let room = length as f32 - shown;
            let free = room * place as f32;
            match center {
                // Anywhere in the crop.
                Some(center) if room > 0.0 => (center - shown * place as f32).clamp(0.0, room),
                _ => free,
            }
        };
        let center = centers.get(at).filter(|_| aimed);
        Self {
            view: View {
                mirror: turns && mirror,
                turns: if turns { quarter } else { 0 },
            },
            scale,
            left: begin(center.map(|it| it[0]), picture.width, places[0]),
            top: begin(center.map(|it| it[1]), picture.height, places[1]),
            side,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    #[test]
    fn there_and_back_is_the_same_place_in_all_views() {
        let mut rng = Rng::new(1, Purpose::Synthetic, [0, 0]);
        let picture = Picture::new(300, 200, vec![0; 300 * 200 * 3]).unwrap();
        for _ in 0..200 {
            let crop = Crop::draw(&picture, 64, 0.5, true, &[[10.0, 190.0]], &mut rng);
            let place = [13.25, 140.5];
            let [x, y] = crop.in_field(crop.of_field(place));
            assert!((x - place[0]).abs() < 1e-3 && (y - place[1]).abs() < 1e-3);
            let [x1, y1, x2, y2] = crop.box_of_field([10.0, 20.0, 14.0, 30.0]);
            let area = (x2 - x1) * (y2 - y1) / (crop.scale * crop.scale);
            assert!((area - 40.0).abs() < 0.01, "{area}");
        }
    }

    #[test]
    fn crops_show_the_field_alone_where_it_is_large_enough() {
        let mut rng = Rng::new(2, Purpose::Synthetic, [0, 0]);
        let picture = Picture::new(300, 200, vec![0; 300 * 200 * 3]).unwrap();
        for _ in 0..200 {
            let crop = Crop::draw(&picture, 64, 0.3, true, &[[299.0, 1.0]], &mut rng);
            for corner in [[0.0, 0.0], [64.0, 0.0], [0.0, 64.0], [64.0, 64.0]] {
                let [x, y] = crop.in_field(corner);
                assert!((-0.01..300.01).contains(&x) && (-0.01..200.01).contains(&y));
            }
        }
    }
}
