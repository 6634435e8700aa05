//! The changes themselves, on planes: one channel behind the other, so that each loop runs over neighbours and fills
//! whole vectors. The order of every sum is that of the pixels, so vectors of any width give the same bits.

use crate::kernels::kernel;
use crate::samples::Normalisation;
use crate::view::View;

/// The channels of one picture on their way, values from 0 to 1, and room to work in.
#[derive(Debug)]
pub(crate) struct Planes {
    side: usize,
    /// Pixels pushed so far.
    filled: usize,
    /// `3 * side * side` values, red first.
    values: Vec<f32>,
    spare: Vec<f32>,
    /// What each byte is worth.
    parts: [f32; 256],
}

/// Where the pixels come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) view: View,
    pub(super) down: isize,
    pub(super) right: isize,
}

impl Planes {
    pub(crate) fn new(side: usize) -> Self {
        let n = 3 * side * side;
        let mut parts = [0.0; 256];
        for (value, part) in parts.iter_mut().enumerate() {
            *part = value as f32 / 255.0;
        }
        Self {
            side,
            filled: 0,
            values: vec![0.0; n],
            spare: vec![0.0; n],
            parts,
        }
    }

    /// From now on pixels are pushed.
    pub(crate) const fn begin(&mut self) {
        self.filled = 0;
    }

    /// Takes the next pixel in, row after row; values from 0 to 255.
    pub(crate) fn push(&mut self, pixel: [f32; 3]) {
        let n = self.side * self.side;
        for (channel, value) in pixel.into_iter().enumerate() {
            self.values[channel * n + self.filled] = value / 255.0;
        }
        self.filled += 1;
    }

    pub(super) const fn side(&self) -> usize {
        self.side
    }

    /// Takes a picture in, turned, mirrored and moved; the edge is repeated.
    pub(super) fn place(&mut self, pixels: &[u8], place: Place) {
        let side = self.side;
        let moved = |at: usize, by: isize| at.saturating_add_signed(by).min(side - 1);
        let columns: Vec<usize> = (0..side)
            .map(|x| 3 * place.view.column(moved(x, place.right), side))
            .collect();
        let (red, rest) = self.values.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        let lines = red.chunks_exact_mut(side).zip(
            green
                .chunks_exact_mut(side)
                .zip(blue.chunks_exact_mut(side)),
        );
        for (y, (red, (green, blue))) in lines.enumerate() {
            let line = &pixels[3 * place.view.line(moved(y, place.down), side)..];
            let values = red.iter_mut().zip(green).zip(blue);
            for (((red, green), blue), &at) in values.zip(&columns) {
                let pixel = &line[at..at + 3];
                *red = self.parts[usize::from(pixel[0])];
                *green = self.parts[usize::from(pixel[1])];
                *blue = self.parts[usize::from(pixel[2])];
            }
        }
    }

    /// Multiplies brightness, then distances to grey, then distances to the mean grey.
    pub(super) fn colour(&mut self, [brightness, saturation, contrast]: [f32; 3]) {
        let n = self.side * self.side;
        let greys = &mut self.spare[..n];
        luma(&self.values, greys);
        let mean = greys.iter().sum::<f32>() / n as f32 * brightness;
        let factors = [brightness, saturation, contrast];
        for plane in self.values.chunks_exact_mut(n) {
            colour(plane, greys, mean, factors);
        }
    }

    /// Mixes the picture with its 3 x 3 binomial blur. The edge is repeated.
    pub(super) fn blur(&mut self, strength: f32) {
        let n = self.side * self.side;
        for plane in self.values.chunks_exact_mut(n) {
            let across = &mut self.spare[..n];
            smooth_across(plane, across, self.side);
            mix_down(plane, across, self.side, strength);
        }
    }

    /// The negative.
    pub(super) fn invert(&mut self) {
        for it in &mut self.values {
            *it = 1.0 - *it;
        }
    }

    /// The picture pixel by pixel, as networks see it.
    pub(crate) fn normalised(&self, it: &Normalisation, out: &mut [f32]) {
        interleave(&self.values, out, it.mean, it.deviation);
    }

    /// The picture pixel by pixel, values from 0 to 1.
    pub(super) fn plain(&self, out: &mut [f32]) {
        interleave(&self.values, out, [0.0; 3], [1.0; 3]);
    }
}

kernel! {
/// The luma of Rec. 601.
fn luma<'a>(values: &'a [f32], out: &'a mut [f32]) {
    let n = out.len();
    let (red, rest) = values.split_at(n);
    let (green, blue) = rest.split_at(n);
    for at in 0..n {
        out[at] = 0.299 * red[at] + 0.587 * green[at] + 0.114 * blue[at];
    }
}
}

kernel! {
fn colour<'a>(plane: &'a mut [f32], greys: &'a [f32], mean: f32, factors: [f32; 3]) {
    let [brightness, saturation, contrast] = factors;
    for (value, grey) in plane.iter_mut().zip(greys) {
        let grey = grey * brightness;
        let coloured = grey + (*value * brightness - grey) * saturation;
        *value = (mean + (coloured - mean) * contrast).clamp(0.0, 1.0);
    }
}
}

kernel! {
/// Each value becomes (the one before + 2 * itself + the one after) / 4 along its line.
fn smooth_across<'a>(plane: &'a [f32], out: &'a mut [f32], side: usize) {
    let last = side - 1;
    for (line, out) in plane.chunks_exact(side).zip(out.chunks_exact_mut(side)) {
        out[0] = (line[0] + 2.0 * line[0] + line[1.min(last)]) / 4.0;
        for ((out, [before, it]), after) in out[1..]
            .iter_mut()
            .zip(line.windows(2).map(|it| [it[0], it[1]]))
            .zip(&line[2.min(side)..])
        {
            *out = (before + 2.0 * it + after) / 4.0;
        }
        out[last] = (line[last.saturating_sub(1)] + 2.0 * line[last] + line[last]) / 4.0;
    }
}
}

kernel! {
/// The same from line to line of what was smoothed across, mixed into the plane.
fn mix_down<'a>(plane: &'a mut [f32], across: &'a [f32], side: usize, strength: f32) {
    let last = side - 1;
    for (y, line) in plane.chunks_exact_mut(side).enumerate() {
        let before = &across[y.saturating_sub(1) * side..][..side];
        let it = &across[y * side..][..side];
        let after = &across[(y + 1).min(last) * side..][..side];
        for x in 0..side {
            let blurred = (before[x] + 2.0 * it[x] + after[x]) / 4.0;
            line[x] += strength * (blurred - line[x]);
        }
    }
}
}

kernel! {
fn interleave<'a>(values: &'a [f32], out: &'a mut [f32], mean: [f32; 3], deviation: [f32; 3]) {
    let n = values.len() / 3;
    let (red, rest) = values.split_at(n);
    let (green, blue) = rest.split_at(n);
    let planes = red.iter().zip(green).zip(blue);
    for (out, ((red, green), blue)) in out.chunks_exact_mut(3).zip(planes) {
        out[0] = (red - mean[0]) / deviation[0];
        out[1] = (green - mean[1]) / deviation[1];
        out[2] = (blue - mean[2]) / deviation[2];
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    /// The changes pixel by pixel, as they are defined.
    fn defined(
        pixels: &[u8],
        side: usize,
        place: Place,
        [brightness, saturation, contrast]: [f32; 3],
        strength: f32,
    ) -> Vec<f32> {
        let last = side - 1;
        let mut picture = Vec::new();
        for at in 0..side * side {
            let y = (at / side).saturating_add_signed(place.down).min(last);
            let x = (at % side).saturating_add_signed(place.right).min(last);
            let x = if place.view.mirror { last - x } else { x };
            let (y, x) = match place.view.turns {
                0 => (y, x),
                1 => (x, last - y),
                2 => (last - y, last - x),
                _ => (last - x, y),
            };
            let pixel = &pixels[(y * side + x) * 3..][..3];
            picture.extend(pixel.iter().map(|it| f32::from(*it) / 255.0));
        }
        let luma = |it: &[f32]| 0.299 * it[0] + 0.587 * it[1] + 0.114 * it[2];
        let sum: f32 = picture.chunks_exact(3).map(luma).sum();
        let mean = sum / (side * side) as f32 * brightness;
        for pixel in picture.chunks_exact_mut(3) {
            let grey = luma(pixel) * brightness;
            for value in pixel {
                let coloured = grey + (*value * brightness - grey) * saturation;
                *value = (mean + (coloured - mean) * contrast).clamp(0.0, 1.0);
            }
        }
        let smooth = |it: &[f32], step: usize, unit: usize| -> Vec<f32> {
            let value = |at: usize| {
                let position = at / 3 / unit % side;
                let before = if position == 0 { at } else { at - step };
                let after = if position == last { at } else { at + step };
                (it[before] + 2.0 * it[at] + it[after]) / 4.0
            };
            (0..it.len()).map(value).collect()
        };
        let blurred = smooth(&smooth(&picture, 3, 1), side * 3, side);
        for (value, blurred) in picture.iter_mut().zip(blurred) {
            *value += strength * (blurred - *value);
        }
        picture
    }

    #[test]
    fn planes_give_the_bits_of_the_definition() {
        for side in [1, 2, 3, 5, 16, 37] {
            for seed in 0..32 {
                let mut rng = Rng::new(seed, Purpose::Synthetic, [side as u64, 0]);
                let pixels: Vec<u8> = (0..side * side * 3).map(|_| rng.bits() as u8).collect();
                let place = Place {
                    view: View {
                        mirror: rng.chance(0.5),
                        turns: rng.below(4),
                    },
                    down: rng.below(5) as isize - 2,
                    right: rng.below(5) as isize - 2,
                };
                let factors = [0; 3].map(|_| rng.between(0.5, 1.5) as f32);
                let strength = rng.uniform() as f32;
                let mut planes = Planes::new(side);
                planes.place(&pixels, place);
                planes.colour(factors);
                planes.blur(strength);
                let mut out = vec![0.0; pixels.len()];
                planes.plain(&mut out);
                let expected = defined(&pixels, side, place, factors, strength);
                let bits = |it: &[f32]| it.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&out), bits(&expected), "side {side}, seed {seed}");
                let normalisation = Normalisation {
                    mean: [0.4, 0.5, 0.6],
                    deviation: [0.1, 0.2, 0.3],
                };
                planes.normalised(&normalisation, &mut out);
                let value = (expected[1] - 0.5) / 0.2;
                assert_eq!(out[1].to_bits(), value.to_bits());
            }
        }
    }
}
