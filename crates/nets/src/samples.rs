//! Labelled pictures in memory.

use crate::view::View;
use rayon::prelude::*;

/// Pictures of one size, RGB, row after row, with a class each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    side: usize,
    /// `n * side * side * 3` values.
    pixels: Vec<u8>,
    labels: Vec<usize>,
}

/// Why pixels are not samples.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplesError {
    #[error(
        "a picture of side {side} has {expected} bytes of RGB and {given} were given\nhint: resize the crop to {side} x {side} and drop the alpha channel"
    )]
    Length {
        side: usize,
        expected: usize,
        given: usize,
    },
    #[error("{labels} labels were given for {pictures} pictures")]
    Labels { pictures: usize, labels: usize },
    #[error("samples of side {first} and of side {second} were put together")]
    Sides { first: usize, second: usize },
}

/// Mean and standard deviation of a channel, of values from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    pub mean: [f32; 3],
    pub deviation: [f32; 3],
}

impl Samples {
    /// No pictures, of this side.
    pub const fn new(side: usize) -> Self {
        Self {
            side,
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// All pictures at once.
    pub fn try_new(side: usize, pixels: Vec<u8>, labels: Vec<usize>) -> Result<Self, SamplesError> {
        let one = side * side * 3;
        let empty = pixels.is_empty() && labels.is_empty();
        if !empty && (one == 0 || !pixels.len().is_multiple_of(one)) {
            return Err(SamplesError::Length {
                side,
                expected: one,
                given: pixels.len(),
            });
        }
        if one > 0 && pixels.len() / one != labels.len() {
            return Err(SamplesError::Labels {
                pictures: pixels.len() / one,
                labels: labels.len(),
            });
        }
        Ok(Self {
            side,
            pixels,
            labels,
        })
    }

    /// Adds a picture.
    pub fn push(&mut self, pixels: &[u8], label: usize) -> Result<(), SamplesError> {
        let expected = self.side * self.side * 3;
        if pixels.len() != expected {
            return Err(SamplesError::Length {
                side: self.side,
                expected,
                given: pixels.len(),
            });
        }
        self.pixels.extend_from_slice(pixels);
        self.labels.push(label);
        Ok(())
    }

    /// Adds all pictures of another set.
    pub fn extend(&mut self, other: &Self) -> Result<(), SamplesError> {
        if self.side != other.side {
            return Err(SamplesError::Sides {
                first: self.side,
                second: other.side,
            });
        }
        self.pixels.extend_from_slice(&other.pixels);
        self.labels.extend_from_slice(&other.labels);
        Ok(())
    }

    /// Width and height of a picture.
    pub const fn side(&self) -> usize {
        self.side
    }

    pub const fn len(&self) -> usize {
        self.labels.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// All pictures, one after the other.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// One picture. Panics past the end.
    pub fn picture(&self, at: usize) -> &[u8] {
        let one = self.side * self.side * 3;
        &self.pixels[at * one..][..one]
    }

    /// The samples of these numbers, in their order. Panics past the end.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut out = Self::new(self.side);
        for at in indices {
            out.pixels.extend_from_slice(self.picture(*at));
            out.labels.push(self.labels[*at]);
        }
        out
    }

    /// How many samples each class has. Panics when a label is not below `n_classes`.
    pub fn counts(&self, n_classes: usize) -> Vec<usize> {
        let mut counts = vec![0; n_classes];
        for label in &self.labels {
            counts[*label] += 1;
        }
        counts
    }

    /// The same pictures in grey, see [`grey`].
    #[must_use]
    pub fn to_grey(&self) -> Self {
        let mut out = self.clone();
        out.pixels.par_chunks_mut(3 << 14).for_each(grey);
        out
    }

    /// Mean and standard deviation of each channel, from exact whole sums. A channel without contrast gets the
    /// deviation of one grey step, so that it can be divided by.
    pub fn normalisation(&self) -> Normalisation {
        let mut sums = [[0_u64; 2]; 3];
        for pixel in self.pixels.chunks_exact(3) {
            for (sums, value) in sums.iter_mut().zip(pixel) {
                sums[0] += u64::from(*value);
                sums[1] += u64::from(*value).pow(2);
            }
        }
        let n = (self.pixels.len() / 3).max(1) as f64;
        let mean = sums.map(|it| it[0] as f64 / n);
        let deviation = |channel: usize| {
            let variance = sums[channel][1] as f64 / n - mean[channel].powi(2);
            (variance.max(1.0).sqrt() / 255.0) as f32
        };
        Normalisation {
            mean: mean.map(|it| (it / 255.0) as f32),
            deviation: [0, 1, 2].map(deviation),
        }
    }
}

/// Puts the luma of Rec. 601 into all three channels of each pixel.
pub fn grey(pixels: &mut [u8]) {
    for pixel in pixels.chunks_exact_mut(3) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        pixel.fill(((299 * r + 587 * g + 114 * b + 500) / 1000) as u8);
    }
}

impl Normalisation {
    /// Everything that is wrong with it, a line each.
    pub(crate) fn problems(&self) -> Option<String> {
        let Self { mean, deviation } = self;
        let is_right = mean.iter().all(|it| it.is_finite())
            && deviation.iter().all(|it| it.is_finite() && *it > 0.0);
        let text = "normalisation needs finite means and deviations above 0";
        (!is_right).then(|| text.to_owned())
    }

    /// Puts pictures into the form that networks see.
    pub(crate) fn apply(&self, pixels: &[u8], out: &mut [f32]) {
        let table = self.table();
        out.par_chunks_mut(3 << 14)
            .zip(pixels.par_chunks(3 << 14))
            .for_each(|(out, pixels)| {
                for (out, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
                    for channel in 0..3 {
                        out[channel] = table[channel][usize::from(pixel[channel])];
                    }
                }
            });
    }

    /// The same, each picture of this side in this view.
    pub(crate) fn apply_view(&self, pixels: &[u8], side: usize, view: View, out: &mut [f32]) {
        if view == View::default() {
            return self.apply(pixels, out);
        }
        let table = self.table();
        let columns: Vec<usize> = (0..side).map(|x| 3 * view.column(x, side)).collect();
        let pictures = out.par_chunks_mut(3 * side * side);
        let pictures = pictures.zip(pixels.par_chunks(3 * side * side));
        pictures.for_each(|(out, pixels)| {
            for (y, out) in out.chunks_exact_mut(3 * side).enumerate() {
                let line = &pixels[3 * view.line(y, side)..];
                for (out, &at) in out.chunks_exact_mut(3).zip(&columns) {
                    let pixel = &line[at..at + 3];
                    for channel in 0..3 {
                        out[channel] = table[channel][usize::from(pixel[channel])];
                    }
                }
            }
        });
    }

    /// What each byte becomes in each channel.
    fn table(&self) -> [[f32; 256]; 3] {
        let mut table = [[0.0; 256]; 3];
        for (channel, values) in table.iter_mut().enumerate() {
            for (value, out) in values.iter_mut().enumerate() {
                *out = (value as f32 / 255.0 - self.mean[channel]) / self.deviation[channel];
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_do_not_fit_are_refused_with_the_side() {
        let mut it = Samples::new(4);
        let error = it.push(&[0; 64], 0).unwrap_err().to_string();
        assert!(
            error.contains("side 4 has 48 bytes") && error.contains("hint:"),
            "{error}"
        );
        assert!(Samples::try_new(4, vec![0; 49], vec![0]).is_err());
        assert!(Samples::try_new(0, vec![0; 3], vec![0]).is_err());
        let error = Samples::try_new(4, vec![0; 96], vec![0])
            .unwrap_err()
            .to_string();
        assert_eq!(error, "1 labels were given for 2 pictures");
        assert!(it.extend(&Samples::new(5)).is_err());
        assert_eq!(Samples::try_new(0, vec![], vec![]).unwrap().len(), 0);
    }

    #[test]
    fn a_subset_keeps_order_and_labels() {
        let pixels = (0..3).flat_map(|it| [it * 10; 12]).collect();
        let it = Samples::try_new(2, pixels, vec![0, 1, 2]).unwrap();
        let subset = it.subset(&[2, 0, 2]);
        assert_eq!(subset.labels(), [2, 0, 2]);
        assert_eq!(subset.picture(1), [0; 12]);
        assert_eq!(subset.counts(3), [1, 0, 2]);
    }

    #[test]
    fn grey_is_luma_rounded_and_leaves_grey_alone() {
        let mut pixels = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 77, 77, 77];
        grey(&mut pixels);
        assert_eq!(pixels, [76, 76, 76, 150, 150, 150, 29, 29, 29, 77, 77, 77]);
    }

    #[test]
    fn normalised_pixels_have_mean_0_and_deviation_1() {
        let pixels: Vec<u8> = (0..8 * 8 * 3 * 4).map(|it| (it * it % 251) as u8).collect();
        let it = Samples::try_new(8, pixels, vec![0; 4]).unwrap();
        let mut out = vec![0.0; it.pixels().len()];
        it.normalisation().apply(it.pixels(), &mut out);
        for channel in 0..3 {
            let values = out.iter().skip(channel).step_by(3);
            let mean = values.clone().sum::<f32>() / 256.0;
            let square = values.map(|it| it * it).sum::<f32>() / 256.0;
            assert!(
                mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-3,
                "{mean} {square}"
            );
        }
    }
}
