//! Closed outlines around a centre.

use super::number::{Random, sine};

const DIRECTIONS: usize = 96;

/// How far the outline lies from its centre in every direction.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    /// Radius by direction; the last entry repeats the first, so that reading between entries needs no wrap.
    radii: [f32; DIRECTIONS + 1],
    pub(super) longest: f32,
}

impl Outline {
    /// A circle of `radius` with bulges: `roughness` is how far they go, as a part of the radius.
    pub(super) fn new(random: &mut Random, radius: f32, roughness: f32) -> Self {
        // Few broad bulges and many small ones.
        let waves: [(f32, f32, f32); 5] = std::array::from_fn(|i| {
            let frequency = (i + 2) as f32;
            let amplitude = roughness * random.between(0.2, 1.0) / (1.0 + 0.45 * i as f32);
            (frequency, amplitude, random.unit())
        });
        let mut radii = [0.0; DIRECTIONS + 1];
        let mut longest = 0.0_f32;
        for (i, out) in radii.iter_mut().enumerate() {
            let turn = (i % DIRECTIONS) as f32 / DIRECTIONS as f32;
            let bulge: f32 = waves
                .iter()
                .map(|(frequency, amplitude, phase)| amplitude * sine(frequency * turn + phase))
                .sum();
            *out = radius * (1.0 + bulge).max(0.3);
            longest = longest.max(*out);
        }
        Self { radii, longest }
    }

    /// Where a point lies: 0 in the centre, 1 on the outline, more outside.
    pub(super) fn depth(&self, dx: f32, dy: f32) -> f32 {
        let distance = (dx * dx + dy * dy).sqrt();
        if distance < 1e-6 {
            return 0.0;
        }
        let place = direction(dx, dy) * DIRECTIONS as f32;
        let index = (place as usize).min(DIRECTIONS - 1);
        let part = place - index as f32;
        let radius = self.radii[index] + (self.radii[index + 1] - self.radii[index]) * part;
        distance / radius
    }

    /// How far the outline reaches to the left, top, right and bottom of its centre.
    pub(super) fn extent(&self) -> [f32; 4] {
        let mut reach = [0.0_f32; 4];
        for (i, radius) in self.radii.iter().enumerate() {
            let (dx, dy) = unit_vector(i as f32 / DIRECTIONS as f32);
            reach[0] = reach[0].max(-dx * radius);
            reach[1] = reach[1].max(-dy * radius);
            reach[2] = reach[2].max(dx * radius);
            reach[3] = reach[3].max(dy * radius);
        }
        reach
    }
}

/// A direction as a number from 0 to 1, growing with the angle. It is the place on a diamond instead of on a circle,
/// which needs no arc tangent and is as good to look something up by.
fn direction(dx: f32, dy: f32) -> f32 {
    let sum = dx.abs() + dy.abs();
    let part = dy / sum;
    let quarter = match (dx >= 0.0, dy >= 0.0) {
        (true, true) => part,
        (false, _) => 2.0 - part,
        (true, false) => 4.0 + part,
    };
    (quarter / 4.0).clamp(0.0, 1.0)
}

/// The unit vector of a [`direction`].
fn unit_vector(direction: f32) -> (f32, f32) {
    let quarter = direction * 4.0;
    let (x, y) = match quarter {
        q if q < 1.0 => (1.0 - q, q),
        q if q < 3.0 => ((2.0 - q).abs() - 1.0, 2.0 - q),
        q => (q - 3.0, q - 4.0),
    };
    let length = (x * x + y * y).sqrt();
    (x / length, y / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_and_its_vector_belong_together() {
        for i in 0..400 {
            let wanted = i as f32 / 400.0;
            let (dx, dy) = unit_vector(wanted);
            assert!((direction(dx, dy) - wanted).abs() < 1e-5, "{wanted}");
        }
    }

    #[test]
    fn a_smooth_outline_is_a_circle() {
        let outline = Outline::new(&mut Random::new(1, 1), 10.0, 0.0);
        assert!((outline.depth(0.0, 10.0) - 1.0).abs() < 1e-5);
        assert!((outline.depth(-3.0, -4.0) - 0.5).abs() < 1e-5);
        for reach in outline.extent() {
            assert!((reach - 10.0).abs() < 0.05, "{reach}");
        }
    }
}
